"""A message for the user is the text that it was raised with."""

import pickle

from stillery.errors import UserError
from stillery.registry.resolve import NoSuchVersionError


def test_what_others_add_on_the_way_is_not_part_of_the_text() -> None:
    error = NoSuchVersionError("models:/a: there is none")
    error.args = ("models:/a: there is none\nFailed to apply UDF transform",)
    travelled = pickle.loads(pickle.dumps(error))
    assert isinstance(travelled, UserError)
    assert str(travelled) == str(error) == "models:/a: there is none"
