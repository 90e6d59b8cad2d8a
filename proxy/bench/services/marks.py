"""How the services say what they are working for. proxy/bench/services/README.md describes the marks."""
import re

NOTHING = '\x1e0\x1e'
_MARK = re.compile('\x1e[^\x1e]*\x1e')


def of_request(headers):
    """The mark of an HTTP request: the span of which the sidecar tells in front of the service."""
    return '\x1er' + headers['traceparent'].split('-')[2] + '\x1e'


def of_message(payload):
    """A message without its mark, and the mark."""
    return _MARK.sub('', payload), ''.join(_MARK.findall(payload))
