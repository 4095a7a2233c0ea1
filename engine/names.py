"""Names of boxes: the check of a given one, readable made-up ones (`amber_heron`), and which one was perhaps meant."""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import InvalidArgumentError

ADJECTIVES = (
    "amber", "ample", "apt", "azure", "balmy", "bold", "brave", "breezy", "brisk", "calm", "candid", "civil",
    "clear", "clever", "coral", "cosy", "crisp", "curious", "dapper", "daring", "deft", "eager", "early", "earnest",
    "fair", "fleet", "fond", "frank", "fresh", "frosty", "gentle", "gilded", "glad", "golden", "grand", "hale",
    "handy", "happy", "hardy", "hazel", "honest", "humble", "ivory", "jade", "jaunty", "jolly", "keen", "kind",
    "lively", "lucid", "lunar", "mellow", "merry", "mild", "misty", "modest", "neat", "nimble", "noble", "olive",
    "opal", "patient", "placid", "plucky", "polite", "prompt", "proud", "quick", "quiet", "rapid", "ready", "rosy",
    "royal", "rustic", "sage", "sandy", "serene", "sharp", "silent", "silver", "simple", "sleek", "smooth", "snug",
    "solar", "solid", "spry", "stable", "steady", "sunny", "swift", "tidy", "tranquil", "trusty", "upbeat", "vivid",
    "warm", "wise", "witty", "zesty",
)  # fmt: skip
NOUNS = (
    "acorn", "alder", "anchor", "aspen", "badger", "basin", "bay", "beacon", "beech", "birch", "bison", "brook",
    "canyon", "cedar", "cliff", "clover", "comet", "condor", "cove", "crane", "creek", "crow", "curlew", "delta",
    "dingo", "dove", "dune", "eagle", "elm", "ermine", "falcon", "fern", "finch", "fjord", "forest", "fox", "garnet",
    "gecko", "glacier", "glen", "grove", "gull", "harbor", "hare", "hawk", "hazelnut", "heron", "hill", "ibex",
    "ibis", "island", "jackdaw", "jay", "juniper", "kestrel", "kiwi", "lagoon", "lake", "lark", "larch", "lemur",
    "linden", "lotus", "lynx", "magpie", "maple", "marten", "meadow", "mesa", "minnow", "moose", "newt", "oak",
    "orchid", "oriole", "osprey", "otter", "owl", "panda", "pebble", "pine", "plover", "pond", "puffin", "quail",
    "raven", "reef", "ridge", "river", "robin", "seal", "sparrow", "spruce", "stork", "summit", "swan", "tern",
    "thistle", "tiger", "valley", "walrus", "willow", "wren", "yak",
)  # fmt: skip


def check_name(name: str) -> str:
    """Return `name`, or raise InvalidArgumentError when a box cannot be called so."""
    from engine.model import NAME_PATTERN

    if not NAME_PATTERN.fullmatch(name):
        raise InvalidArgumentError(
            f"box name {name!r} is not valid",
            hint="a name begins with a letter or digit and goes on with letters, digits, '_', '.' and '-' (128 at most)",
        )
    return name


def made_up_name(attempt: int = 0) -> str:
    """A name such as `quiet_otter`. From the fourth `attempt` on (there are some ten thousand names) with a number."""
    import secrets

    name = f"{secrets.choice(ADJECTIVES)}_{secrets.choice(NOUNS)}"
    return name if attempt < 3 else f"{name}_{secrets.randbelow(10_000)}"


def did_you_mean(word: str, names: Iterable[str], otherwise: str) -> str:
    """The hint for a name that is nobody's: the nearest one that is somebody's, in front of what else to do."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(names), n=1, cutoff=0.6)
    return f"did you mean {near[0]}? {otherwise}" if near else otherwise
