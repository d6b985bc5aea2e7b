"""What a vendor says, as text that can be sent on."""


def readable(said: object) -> str:
    """Return it as text with whole characters only: JSON can carry halves of one, and nothing can write them."""
    text = str(said)  # LangChain's own kind of str is one that orjson does not take
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
