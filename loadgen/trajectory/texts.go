package trajectory

import (
	"bytes"
	"fmt"
	"strings"
)

// problem appends an issue report of about size bytes.
func (w *writer) problem(size int) {
	w.expandOne(w.Issue["titles"])
	w.write("\n")
	w.issueProse()
	w.fill(size, w.issuePart)
	w.cut(0, size)
	if bytes.Count(w.b, []byte("```"))%2 == 1 {
		w.write("\n```")
	}
}

// issuePart appends a part of an issue report. The shares of the parts give a statement about 3.6 bytes
// per token.
func (w *writer) issuePart() {
	if w.chance(30) {
		w.expandOne(w.Issue["headings"])
	}
	switch p := w.below(100); {
	case p < 20:
		w.issueProse()
	case p < 55:
		w.fenced("python", func() {
			for range 2 + w.below(6) {
				w.expandOne(w.Python["scripts"])
			}
		})
	case p < 82:
		w.fenced("", w.traceback)
	case p < 92:
		w.fenced("python", func() { w.expandOne(w.Python["blocks"]) })
	default:
		for _, version := range w.Issue["versions"] {
			w.expand(version)
		}
		w.write("\n")
	}
}

func (w *writer) issueProse() {
	for range 1 + w.below(3) {
		w.expandOne(w.Issue["sentences"])
	}
	w.b = append(bytes.TrimRight(w.b, " "), "\n\n"...)
}

func (w *writer) fenced(language string, body func()) {
	w.write("```" + language + "\n")
	body()
	w.b = append(bytes.TrimRight(w.b, "\n"), "\n```\n\n"...)
}

func (w *writer) traceback() {
	w.write("Traceback (most recent call last):\n")
	for range 2 + w.below(5) {
		w.expandOne(w.Python["frames"])
	}
	w.expandOne(w.Python["faults"])
}

// thought appends the reasoning before a call, about size bytes.
func (w *writer) thought(kind work, size int) {
	w.expandOne(w.Thought[[]string{"idle", "file", "bash", "test"}[kind]])
	w.fill(size, func() { w.expandOne(w.Thought["sentences"]) })
	w.cut(0, size)
	w.b = append(bytes.TrimRight(w.b, " ,.:`"), '.')
}

// The sizes, in bytes, above which a call needs a longer form.
const (
	viewBytes   = 150
	editBytes   = 230
	scriptBytes = 420
)

const endParameter = "</parameter>\n"

// action appends a call of the kind, rendered as R2E-Gym renders it: about size bytes, and at least its
// shortest form. It returns the tool's name.
func (w *writer) action(kind work, size int) (tool string) {
	tool = "file_editor"
	switch {
	case kind == idleWork:
		w.expand(w.Call["undo"])
	case kind == fileWork && size < viewBytes:
		tool = "search"
		w.expand(w.Call["search"])
		if w.chance(50) {
			w.expand(w.Call["path"])
		}
	case kind == fileWork && size < editBytes:
		w.expand(w.Call["view"])
		if w.chance(70) {
			first := 1 + w.below(900)
			w.write("  <parameter=view_range>[")
			w.number(first, first)
			w.write(", ")
			w.number(first+10, first+90)
			w.write("]" + endParameter)
		}
	case kind == fileWork && w.chance(25):
		w.expand(w.Call["create"])
		w.code(size)
		w.write(endParameter)
	case kind == fileWork:
		w.expand(w.Call["replace"])
		w.code(len(w.b) + (size-len(w.b))*2/5)
		w.write(endParameter + "  <parameter=new_str>")
		w.code(size)
		w.write(endParameter)
	default:
		tool = "execute_bash"
		w.expand(w.Call["bash"])
		w.command(kind, size)
		w.write(endParameter)
	}
	w.write("</function>")
	return tool
}

// command appends shell commands, or a script that is long enough.
func (w *writer) command(kind work, size int) {
	commands := w.Command["bash"]
	switch {
	case kind == testWork:
		commands = w.Command["test"]
	case size >= scriptBytes && w.chance(60):
		w.write("cat > reproduce_issue.py <<'EOF'\n")
		w.code(size - 30)
		w.write("\nEOF\npython reproduce_issue.py")
		return
	}
	w.expandOne(commands)
	for len(w.b)+90 < size {
		w.write(" && ")
		w.expandOne(commands)
	}
}

// code appends at least a line of Python, until the action is about size bytes long.
func (w *writer) code(size int) {
	w.expand("{noun} = self.{Function}({noun}, {value})\n")
	w.fill(size-len(endParameter+"</function>"), func() {
		if w.chance(45) {
			w.expandOne(w.Python["scripts"])
		} else {
			w.expandOne(w.Python["blocks"])
		}
	})
	w.b = bytes.TrimRight(w.b, " \n")
}

func (w *writer) bashOutput(kind work, size int) {
	failed := w.chance(30)
	code := "0"
	if failed {
		code = "1"
	}
	w.write("Exit code: " + code + "\nExecution output of [execute_bash]:\n[STDOUT]\n\n")
	const end = "\n\n[STDERR]\n\n"
	output := []string{"grep", "test", "shell"}[w.below(3)]
	if kind == testWork {
		output = "test"
	}
	w.fill(size-len(end), func() {
		if failed && w.chance(20) {
			w.traceback()
			return
		}
		w.expandOne(w.Output[output])
	})
	w.write(end)
}

// output appends what a tool returns, about size bytes.
func (w *writer) output(tool string, kind work, size int) {
	if tool == "execute_bash" {
		w.bashOutput(kind, size)
		return
	}
	w.write("Execution output of [" + tool + "]:\n")
	switch {
	case kind == idleWork:
		w.expand("ERROR: No previous edit found to undo for /testbed/{Project}/{Module}.py")
	case tool == "search":
		w.expand("Matches for \"{function}\" in /testbed/{Project}:\n")
		w.fill(size, func() { w.expandOne(w.Output["grep"]) })
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
		w.expandOne(w.Python["blocks"])
		block := string(w.b[start:])
		w.b = w.b[:start]
		for line := range strings.Lines(block) {
			w.b = fmt.Appendf(w.b, "%6d\t%s", number, line)
			number++
		}
	})
}
