"""What pip would install for a package, by the metadata of the packages that are here."""

from importlib import metadata

from packaging.requirements import Requirement

NO_EXTRA = {"extra": ""}


def needed_by(lines, known=()):
    """Return the names of what pip would install for these requirements, themselves included."""
    names = set(known)
    for line in lines:
        wanted = Requirement(line)
        if wanted.name not in names and (not wanted.marker or wanted.marker.evaluate(NO_EXTRA)):
            names |= needed_by(metadata.requires(wanted.name) or [], {*names, wanted.name})
    return names
