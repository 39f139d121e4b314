"""Messages of other libraries, told in one line."""

import re

_KEY = re.compile(r'Parser key "([^"]+)"')
_EXPECTED = re.compile(r"Expected (?:an? )?(?:<class '([^']+)'>|([^\n]*?))(?:\. Got value: .*)?$", re.MULTILINE)
_VALUE = re.compile(r"(?:Given value|Got value): (.+)")


def one_line(message: str) -> str:
    """A message in one line; of those about a wrong type the name of the setting, the type expected and the value."""
    key, value = _KEY.search(message), _VALUE.search(message)
    types = [named or other for named, other in _EXPECTED.findall(message)]
    # Types that no configuration can spell out, such as a tensor for a learning rate.
    types = [_plain(name) for name in types if "import path" not in name]
    if key and value and types:
        return f"{key[1]}: expected {' or '.join(dict.fromkeys(types))}, got {value[1]}"
    return re.sub(r"\s+", " ", message).strip()


def _plain(type_name: str) -> str:
    """The name of a type as someone knows it who writes YAML."""
    if type_name == "NoneType":
        return "null"
    literal = re.search(r"Literal\[(.+)\]", type_name)
    return f"one of {literal[1]}" if literal else type_name
