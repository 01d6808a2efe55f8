// Package version says which build this is. It reads only what Go recorded in the binary: a build
// in a clone has the tag or a pseudo-version, the commit and its date.
package version

import (
	"cmp"
	"runtime/debug"
	"strings"
)

// Short returns the module's version: a tag, or a pseudo-version that holds the commit. It ends
// with +dirty if files were changed. It is "unknown" if Go recorded nothing.
func Short() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return cmp.Or(info.Main.Version, "unknown")
}

// Full returns the version, the commit, its date and Go's version in one line.
func Full() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return full(info)
}

func full(info *debug.BuildInfo) string {
	recorded := map[string]string{}
	for _, s := range info.Settings {
		recorded[s.Key] = s.Value
	}
	parts := []string{cmp.Or(info.Main.Version, "unknown")}
	if commit := recorded["vcs.revision"]; commit != "" {
		parts = append(parts, "commit "+commit, recorded["vcs.time"])
	}
	if recorded["vcs.modified"] == "true" {
		parts = append(parts, "files changed")
	}
	return strings.Join(append(parts, info.GoVersion), ", ")
}
