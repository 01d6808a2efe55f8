package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"paceline/loadgen/report"
)

// environment describes this process and its machine for the report.
func environment(args []string) report.Environment {
	return report.Environment{
		GoVersion: runtime.Version(), OS: runtime.GOOS, OSVersion: osVersion(), Arch: runtime.GOARCH,
		CPUs: runtime.NumCPU(), CPUModel: field("/proc/cpuinfo", "model name", ":"), Args: args,
	}
}

// osVersion returns the name of the system and its kernel; empty where neither can be read.
func osVersion() string {
	name := field("/etc/os-release", "PRETTY_NAME", "=")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.Join(strings.Fields(strings.Trim(name, `"`)+" "+string(kernel)), " ")
}

// field returns the value of the first line of a file that begins with a name.
func field(path, name, separator string) string {
	data, _ := os.ReadFile(path) // a system without the file has no value
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// version returns the commit of this binary as far as the build knows it: the revision and
// whether it was changed, or the version of the module.
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
