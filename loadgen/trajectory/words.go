package trajectory

// The vocabulary of generated text. All of it, and every template that uses
// it, was made up for this generator; no project of these names is meant.

var projects = []string{
	"graft", "pluvio", "tessera", "quillon", "marlin", "orrery", "sextant", "halyard",
	"cobalt", "fennel", "lattice", "umbra", "verdigris", "kestrel", "isobar", "palimpsest",
}

var modules = []string{
	"registry", "resolver", "scheduler", "session", "loader", "compiler", "schema", "router",
	"serializer", "cache", "connection", "parser", "transforms", "dispatch", "validators", "indexing",
	"formatting", "migrations", "timeseries", "widgets", "signals", "storage", "pipeline", "query",
}

var nouns = []string{
	"index", "column", "header", "token", "cursor", "buffer", "field", "handler", "mask", "offset",
	"label", "axis", "frame", "record", "option", "default", "timeout", "payload", "encoding", "locale",
	"prefix", "suffix", "chunk", "queue", "worker", "node", "edge", "parent", "child", "group",
	"window", "level", "unit", "scale", "margin", "template", "context", "callback", "signature", "argument",
	"key", "value", "mapping", "sequence", "iterator", "path", "locator", "backend", "dialect", "constraint",
}

var verbs = []string{
	"resolve", "load", "merge", "split", "parse", "render", "flush", "bind", "build", "collect",
	"validate", "convert", "normalize", "expand", "register", "update", "apply", "filter", "encode", "decode",
	"compare", "reindex", "dispatch", "iterate", "copy", "close", "open", "format", "coerce", "align",
}

var adjectives = []string{
	"nested", "lazy", "empty", "cached", "default", "explicit", "frozen", "shared", "remote", "local",
	"sorted", "masked", "abstract", "composite", "pending", "partial", "static", "dynamic", "virtual", "stale",
	"inherited", "optional", "duplicate", "trailing", "negative", "multi-level", "read-only", "timezone-aware",
}

var classHeads = []string{
	"Lazy", "Base", "Nested", "Cached", "Bound", "Composite", "Remote", "Typed", "Frozen", "Ordered",
	"Async", "Multi", "Default", "Partial", "Static", "Dynamic", "Shared", "Abstract", "Sparse", "Virtual",
}

var classTails = []string{
	"Index", "Field", "Loader", "Handler", "Schema", "Node", "Frame", "Registry", "Router", "Session",
	"Mapping", "Locator", "Template", "Backend", "Query", "Column", "Context", "Formatter", "Resolver", "Buffer",
}

var errorTypes = []string{
	"TypeError", "ValueError", "KeyError", "AttributeError", "IndexError", "RuntimeError",
	"RecursionError", "AssertionError", "UnicodeDecodeError", "NotImplementedError",
}

var literals = []string{
	"None", "0", "-1", "''", "[]", "{}", "True", "False", "b''", "1.5", "'utf-8'", "('a', 'b')", "[1, 2, 3]",
	"{'a': 1}", "float('nan')", "range(3)", "'%Y-%m-%d'", "10**6", "object()", "[None]", "(0, 1)", "'x y'",
}

var systems = []string{
	"Ubuntu 22.04", "macOS 13.4", "Windows 11", "Debian 12", "Fedora 38", "Alpine 3.18", "Arch Linux", "RHEL 8.8",
}
