"""For all tests: no property is judged by the clock, since a machine that runs tests has other work."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
