package main

import (
	"os"
	"strings"
)

// osVersion is what the system calls itself, and its kernel; empty where neither is
// to be read.
func osVersion() string {
	name := field("/etc/os-release", "PRETTY_NAME", "=")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.Join(strings.Fields(strings.Trim(name, `"`)+" "+string(kernel)), " ")
}

// cpuModel is the name of the first processor; empty where it is not to be read.
func cpuModel() string { return field("/proc/cpuinfo", "model name", ":") }

// field is the value of the first line of a file that begins with a name.
func field(path, name, separator string) string {
	data, _ := os.ReadFile(path) // a system without one tells nothing
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
