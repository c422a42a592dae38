"""The method's mathematics as pure functions; only torch, numpy and the standard library are imported here."""
