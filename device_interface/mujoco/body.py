"""Sizes and masses of the body from height and mass.

Segment fractions: Winter, Biomechanics and Motor Control of Human Movement, anthropometric
tables (quoted from memory). They describe average adults and no patient.
"""

from __future__ import annotations

from dataclasses import dataclass

G_M_S2 = 9.81


@dataclass(frozen=True)
class Segment:
    """A segment of the body.

    Parameters
    ----------
    mass_kg, length_m : float
    centre_m : float
        From the proximal joint to the centre of mass (from the hip upward for the torso).
    inertia_kg_m2 : float
        About the centre of mass, in the plane of walking.
    """

    mass_kg: float
    length_m: float
    centre_m: float
    inertia_kg_m2: float


def _segment(
    mass_kg: float, height_m: float, mass: float, length: float, centre: float, gyration: float
) -> Segment:
    own = mass * mass_kg
    size = length * height_m
    return Segment(own, size, centre * size, own * (gyration * size) ** 2)


@dataclass(frozen=True)
class Body:
    """Somebody of `mass_kg` and `height_m`, standing.

    Attributes
    ----------
    torso, thigh, shank, foot : Segment
        The torso is head, arms and trunk in one. Each leg has one of the others.
    ankle_m : float
        Height of the ankle over the sole.
    """

    mass_kg: float
    height_m: float
    torso: Segment
    thigh: Segment
    shank: Segment
    foot: Segment
    ankle_m: float

    @property
    def weight_n(self) -> float:
        """Body weight in N."""
        return self.mass_kg * G_M_S2

    @property
    def hip_m(self) -> float:
        """Height of the hip over the floor with straight legs."""
        return self.thigh.length_m + self.shank.length_m + self.ankle_m


def body_of(mass_kg: float, height_m: float) -> Body:
    """Return the body of a person.

    Raises
    ------
    ValueError
        If the mass is not in 30..200 kg, or the height not in 1.2..2.2 m.
    """
    if not 30 <= mass_kg <= 200 or not 1.2 <= height_m <= 2.2:
        raise ValueError("weight_kg must lie in 30..200 and height_m in 1.2..2.2")
    return Body(
        mass_kg,
        height_m,
        torso=_segment(mass_kg, height_m, 0.678, 0.288, 0.626, 0.496),
        thigh=_segment(mass_kg, height_m, 0.100, 0.245, 0.433, 0.323),
        shank=_segment(mass_kg, height_m, 0.0465, 0.246, 0.433, 0.302),
        foot=_segment(mass_kg, height_m, 0.0145, 0.152, 0.5, 0.475),
        ankle_m=0.039 * height_m,
    )
