"""How far two places are from each other."""

from math import asin, cos, radians, sin, sqrt

from cardserver.checks.values import Position

_EARTH_RADIUS_KM = 6371.0088  # the mean radius of GRS 80


def distance_km(here: Position, there: Position) -> int:
    """Give the great-circle distance, cut to whole kilometres.

    The earth taken for a sphere is at most half a percent wrong.
    """
    north, to_north = radians(here.latitude_e6 / 1e6), radians(there.latitude_e6 / 1e6)
    east = radians((there.longitude_e6 - here.longitude_e6) / 1e6)
    half_chord = sin((to_north - north) / 2) ** 2 + cos(north) * cos(to_north) * sin(east / 2) ** 2
    return int(2 * _EARTH_RADIUS_KM * asin(sqrt(min(half_chord, 1.0))))
