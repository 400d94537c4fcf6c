"""CRIU's statistics of a dump: stats-dump is two magic numbers, a length, and one protobuf message."""

HEADER = 12
MICROSECONDS = 1e-6
# StatsEntry.dump, and in it the fields of DumpStatsEntry that matter here.
DUMP = 1
FIELDS = {2: "frozen", 3: "memdump", 4: "memwrite"}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        yield key >> 3, value


def dump(path):
    """Seconds, by name."""
    with open(path, "rb") as file:
        message = dict(fields(file.read()[HEADER:]))[DUMP]
    found = dict(fields(message))
    return {name: found[number] * MICROSECONDS for number, name in FIELDS.items() if number in found}
