"""A study in REDCap's files: dictionary, records, and what the project is set up with."""

from __future__ import annotations

from pathlib import Path

from trialkit.exchange.foreign.contents import Group, layout, subjects
from trialkit.exchange.foreign.give import Given, give_folder
from trialkit.exchange.redcap.dictionary import COLUMNS, dictionary_rows, write_csv
from trialkit.exchange.redcap.names import MISSING, Names, redcap_names
from trialkit.exchange.redcap.records import Cells, record_columns, record_rows
from trialkit.study import Design, Study
from trialkit.study.commands import command


@command("export_forms", atomic=False)
def export_redcap(study: Study, out: str | Path) -> Given:
    """Write forms, visits and diaries of a study as files for REDCap.

    ``dictionary.csv`` and ``records.csv`` are what REDCap imports; ``events.csv``,
    ``designations.csv`` and ``repeating.csv`` set up its events, which forms are at them and which
    repeat, and ``missing-codes.txt`` goes into its missing data codes. Values are those that stand;
    their history is in the record, and in an export as ODM. No arm is told. The export is an event.

    Parameters
    ----------
    study : Study
        Open for writing.
    out : path
        A folder that does not exist yet.

    Returns
    -------
    Given
        Folder, files with their hashes, participants and values.

    Raises
    ------
    NotPermitted
        If the role may not export forms; the refusal is an event.
    Duplicate
        If the folder exists.
    StorageRefused
        If the disk or the record refused; nothing is left behind.
    """
    groups = layout(study)
    by_code = {group.code: group for group in groups}
    names = redcap_names(groups, study.design)
    rows: list[Cells] = []
    people = values = 0
    for subject in subjects(study, groups):
        people += 1
        values += sum(len(filled.values) for filled in subject.filled)
        rows += record_rows(subject, by_code, names)
    files = {
        "dictionary.csv": write_csv(COLUMNS, dictionary_rows(groups, names)),
        "records.csv": write_csv(record_columns(groups, names), rows),
        **_setup(groups, names, study.design),
    }
    return give_folder(study, "redcap", Path(out), files, people, values)


def _setup(groups: list[Group], names: Names, design: Design) -> dict[str, bytes]:
    """Return the files that set up a project for the dictionary."""
    windows = {visit.code: (visit.day, *visit.window_days) for visit in design.visits}
    events: list[Cells] = []
    for code, event in names.events.items():
        day, before, after = windows.get(code, (0, 0, 0))
        events.append(
            {
                "event_name": names.labels[code],
                "arm_num": "1",
                "day_offset": str(day),
                "offset_min": str(-before),
                "offset_max": str(after),
                "unique_event_name": event,
            }
        )
    designated = [
        {"arm_num": "1", "unique_event_name": names.events[code], "form": names.forms[group.code]}
        for code in names.events
        for group in groups
        if code in (group.visits or ("",))
    ]
    repeating = [
        {"event_name": names.events[""], "form_name": names.forms[g.code], "custom_form_label": ""}
        for g in groups
        if g.repeating
    ]
    codes = "".join(f"{code}, {meaning}\n" for code, meaning in MISSING.items())
    return {
        "events.csv": write_csv(list(events[0]), events),
        "designations.csv": write_csv(["arm_num", "unique_event_name", "form"], designated),
        "repeating.csv": write_csv(["event_name", "form_name", "custom_form_label"], repeating),
        "missing-codes.txt": codes.encode(),
    }
