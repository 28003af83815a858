"""How far two places are from each other."""

from math import asin, cos, radians, sin, sqrt

_EARTH_RADIUS_KM = 6371.0088  # the mean radius of GRS 80


def distance_km(
    latitude_e6: int, longitude_e6: int, to_latitude_e6: int, to_longitude_e6: int
) -> int:
    """Give the great-circle distance, cut to whole kilometres.

    The coordinates are millionths of a degree. The earth taken for a sphere is at most half a
    percent wrong, and always in the same way on every machine that decides.
    """
    north, to_north = radians(latitude_e6 / 1e6), radians(to_latitude_e6 / 1e6)
    east = radians((to_longitude_e6 - longitude_e6) / 1e6)
    half_chord = sin((to_north - north) / 2) ** 2 + cos(north) * cos(to_north) * sin(east / 2) ** 2
    return int(2 * _EARTH_RADIUS_KM * asin(sqrt(min(half_chord, 1.0))))
