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

// version returns the version of the module: of a build in a checkout it holds the commit, and
// whether files were changed.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
