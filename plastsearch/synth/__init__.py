"""The speech synthesiser behind the generated corpus. Its version stands here, where asking for it imports nothing."""

VERSION = 5  # part of every cache key: raised whenever a generated sample changes
