"""How the machine goes from block to block, and comes to the end of a session."""

from __future__ import annotations

import math

from trialkit.session import halting, steering, telling
from trialkit.session import words as w
from trialkit.session.state import Effects, Result, State, changed


def enter(state: State, index: int) -> Result:
    """Enter the block `index`, or finish after the last."""
    blocks = state.program.course.blocks
    if index >= len(blocks):
        return _finish(changed(state, block=len(blocks) - 1, left_s=0.0))
    block = blocks[index]
    state = changed(state, block=index, left_s=block.seconds, sums={})
    if not block.on_device:
        down: Effects = (w.RampDown(),) if state.armed else ()
        off = changed(state, armed=False, targets={})
        return off, (*down, w.LogBlock(block.id, block.seconds / 60.0))
    before: Effects = ()
    if not state.armed:
        state, before = changed(state, armed=True, since=state.t_s, targets={}), (w.Arm(),)
    state, effects = steering.command(state)
    return state, (*before, *effects)


def leave(state: State) -> Result:
    """Leave the current block: ask its prompts, or judge at once where it has none."""
    block = state.program.course.blocks[state.block]
    if block.prompts:
        state = changed(state, waiting={**state.waiting, block.id: state.means})
        asked: Effects = (w.Ask(block.id, block.prompts),)
    else:
        state, asked = steering.judge(state, block.kind, state.means)
    state, entered = enter(state, state.block + 1)
    return state, (*asked, *entered)


def _finish(state: State) -> Result:
    down: Effects = (w.RampDown(),) if state.armed else ()
    if state.waiting:
        return changed(state, finishing=True, armed=False), down
    ended, effects = halting.end(state, "completed", "program", "done")
    return ended, (*down, *effects)


def logged(state: State, given: w.BlockLogged) -> Result:
    """Take the minutes of a block without the device, and go on."""
    if state.phase != "running" or state.on_device or given.block != state.block_id:
        return state, ()
    if not math.isfinite(given.minutes) or given.minutes < 0:
        return state, (w.Notice("The minutes of a block are a number from 0 on."),)
    noted = telling.noted(state, given.block, {"minutes": given.minutes})
    state, effects = leave(state)
    return state, (*noted, *effects)
