package main

import "runtime/debug"

// version is the commit this binary was built from, as far as the build knows
// it: the module's version, or the revision and whether it was changed.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	if revision != "" {
		return revision + changed
	}
	return info.Main.Version
}
