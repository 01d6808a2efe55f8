package trajectory

import (
	"fmt"
	"strings"
)

// Lines that commands print.
var (
	grepLines = []string{
		"{Project}/{module}.py:{line}:    def {function}(self, {noun}, {Argument}={value}):\n",
		"{Project}/{module}.py:{line}:    # the {adjective} {noun} has to {verb} its {noun} before the {noun}\n",
		"{Project}/core/{module}.py:{line}:        return self.{Function}({noun}, {value})\n",
		"tests/test_{module}.py:{line}:    assert {noun}.{Function}({value}) == {value}\n",
	}
	testLines = []string{
		"tests/test_{module}.py::Test{class}::test_{function}[{value}] PASSED [ {count}%]\n",
		"tests/test_{module}.py ......................s....... [ {count}%]\n",
		"FAILED tests/test_{Module}.py::test_{function}_{noun} - {Fault}: {value}\n",
		"E       assert {value} == {value}\n",
		"tests/{module}/test_{Module}.py::Test{Class}::test_{Function}_with_{noun} PASSED\n",
		"E       {Fault}: the {noun} of {Class} should {verb} the {adjective} {noun}\n",
		"{count} passed, {digit} skipped, {digit} warnings in {digit}.{count}s\n",
		"{Project}/{module}.py:{line}: DeprecationWarning: {noun} is deprecated, use {function}\n",
	}
	shellLines = []string{
		"-rw-r--r-- 1 root root {line}{count} Mar {digit} 1{digit}:3{digit} {function}.py\n",
		"drwxr-xr-x {digit} root root 4096 Mar {digit} 1{digit}:2{digit} {module}\n",
		"{hex} Fix {noun} of {adjective} {noun} in {class} (#{line}{digit})\n",
		"{noun}={value} {noun}=[{line} {line}] {noun}={digit}.{line} {adjective}\n",
		"{class}.{Function}: {verb} {noun} before {noun}, found {value}\n",
		"./{Project}/{module}/{function}.py\n",
		"INFO 1{digit}:2{digit}:0{digit} {Project}.{module} could not {verb} the {noun} of {Class}, took {count} ms\n",
	}
)

// bashOutput appends what execute_bash returns, about size bytes.
func (w *writer) bashOutput(kind work, size int) {
	failed := w.chance(30)
	code := "0"
	if failed {
		code = "1"
	}
	w.write("Exit code: " + code + "\nExecution output of [execute_bash]:\n[STDOUT]\n\n")
	size -= len("\n\n[STDERR]\n\n")
	lines := [][]string{grepLines, testLines, shellLines}[w.below(3)]
	if kind == testWork {
		lines = testLines
	}
	w.fill(size, func() {
		if failed && w.chance(20) {
			w.traceback()
			return
		}
		w.expandOne(lines)
	})
	w.write("\n\n[STDERR]\n\n")
}

// toolOutput appends what a tool other than execute_bash returns.
func (w *writer) toolOutput(tool string, kind work, size int) {
	w.write("Execution output of [" + tool + "]:\n")
	switch {
	case kind == idleWork:
		w.expand("ERROR: No previous edit found to undo for /testbed/{Project}/{Module}.py")
	case tool == "search":
		w.expand("Matches for \"{function}\" in /testbed/{Project}:\n")
		w.fill(size, func() { w.expandOne(grepLines) })
	default:
		w.expand("Here's the result of running `cat -n` on /testbed/{Project}/{Module}.py:\n")
		w.numbered(size)
	}
}

// numbered appends code as `cat -n` prints it.
func (w *writer) numbered(size int) {
	number := 1 + w.below(900)
	w.fill(size, func() {
		start := len(w.b)
		w.expandOne(pythonBlocks)
		block := string(w.b[start:])
		w.b = w.b[:start]
		for line := range strings.Lines(block) {
			w.b = fmt.Appendf(w.b, "%6d\t%s", number, line)
			number++
		}
	})
}
