package trajectory

import "bytes"

var bashCommands = []string{
	"cd /testbed",
	"grep -rn \"{function}\" {Project}/ --include='*.py' | head -{count}",
	"grep -n \"def {Function}\" -A {digit} {Project}/{Module}.py",
	"sed -n '{line},+{count}p' {Project}/{module}.py",
	"python reproduce_issue.py",
	"git diff --stat",
	"git log --oneline -{digit} -- {Project}/{Module}.py",
	"ls -la {Project}/{module}/",
	"python -c \"from {Project}.{module} import {class}; print({class}({value}).{noun})\"",
	"find . -name '{module}*.py' -not -path './build/*'",
	"python -m pytest -q tests/{module}/test_{Module}.py -k {noun} 2>&1 | tail -{count}",
	"grep -rln \"{adjective} {noun}\" --include='*.rst' --include='*.py' documentation/ {Project}/",
	"echo 'Checking whether {Class} can {verb} the {adjective} {noun}'",
	"git show HEAD:{Project}/{Module}.py | grep -n \"class {Class}\" -A {digit}",
	"python -c \"import {Project}; help({Project}.{Module}.{Class}.{Function})\"",
}

var testCommands = []string{
	"python -m pytest -q tests/{module}/",
	"python -m pytest -x tests/test_{Module}.py tests/test_{module}.py",
	"python runtests.py {module} {module}.{class}Tests -v 2",
	"python -m pytest --tb=short tests/ -k \"{noun} or {noun}\"",
}

// The sizes, in bytes, from which a call needs a longer form.
const (
	viewBytes   = 150
	editBytes   = 230
	scriptBytes = 420
)

// action appends a call of the kind, about size bytes and never less than its
// shortest form, rendered as R2E-Gym renders it. It returns the tool's name.
func (w *writer) action(kind work, size int) string {
	switch {
	case kind == idleWork:
		return w.call("file_editor", func() {
			w.parameter("command", "undo_edit")
			w.parameter("path", "/testbed/{Project}/{Module}.py")
		})
	case kind == fileWork && size < viewBytes:
		return w.search()
	case kind == fileWork && size < editBytes:
		return w.view()
	case kind == fileWork && w.chance(25):
		return w.create(size)
	case kind == fileWork:
		return w.replace(size)
	case kind == testWork:
		return w.bash(size, testCommands)
	case size >= scriptBytes && w.chance(60):
		return w.script(size)
	}
	return w.bash(size, bashCommands)
}

// submit appends the call that ends a trajectory.
func (w *writer) submit() {
	w.call("finish", func() {
		w.parameter("command", "submit")
		w.parameter("result", "`{Class}.{Function}` now keeps the {adjective} {noun}.")
	})
}

func (w *writer) search() string {
	return w.call("search", func() {
		w.parameter("search_term", "{function}")
		if w.chance(50) {
			w.parameter("path", "/testbed/{Project}/{module}.py")
		}
	})
}

func (w *writer) view() string {
	return w.call("file_editor", func() {
		w.parameter("command", "view")
		w.parameter("path", "/testbed/{Project}/{module}.py")
		if w.chance(70) {
			first := 1 + w.below(900)
			w.open("view_range")
			w.write("[")
			w.number(first, first)
			w.write(", ")
			w.number(first+10, first+90)
			w.write("]")
			w.close()
		}
	})
}

func (w *writer) create(size int) string {
	return w.call("file_editor", func() {
		w.parameter("command", "create")
		w.parameter("path", "/testbed/{function}_{noun}.py")
		w.open("file_text")
		w.code(size)
		w.close()
	})
}

func (w *writer) replace(size int) string {
	return w.call("file_editor", func() {
		w.parameter("command", "str_replace")
		w.parameter("path", "/testbed/{Project}/{Module}.py")
		w.open("old_str")
		w.code(len(w.b) + (size-len(w.b))*2/5)
		w.close()
		w.open("new_str")
		w.code(size)
		w.close()
	})
}

func (w *writer) bash(size int, commands []string) string {
	return w.call("execute_bash", func() {
		w.open("cmd")
		w.expandOne(commands)
		for len(w.b)+90 < size {
			w.write(" && ")
			w.expandOne(commands)
		}
		w.close()
	})
}

func (w *writer) script(size int) string {
	return w.call("execute_bash", func() {
		w.open("cmd")
		w.write("cat > reproduce_issue.py <<'EOF'\n")
		w.code(size - 30)
		w.write("\nEOF\npython reproduce_issue.py")
		w.close()
	})
}

// code appends Python until the action is about size bytes long, at least a
// line of it.
func (w *writer) code(size int) {
	w.expand("{noun} = self.{Function}({noun}, {value})\n")
	w.fill(size-callEndBytes, func() {
		if w.chance(45) {
			w.expandOne(pythonScripts)
		} else {
			w.expandOne(pythonBlocks)
		}
	})
	w.b = bytes.TrimRight(w.b, " \n")
}

// callEndBytes is what closing a parameter and a call takes.
const callEndBytes = len("</parameter>\n</function>")

func (w *writer) call(tool string, parameters func()) string {
	w.write("<function=" + tool + ">\n")
	parameters()
	w.write("</function>")
	return tool
}

func (w *writer) parameter(name, template string) {
	w.open(name)
	w.expand(template)
	w.close()
}

func (w *writer) open(name string) {
	w.write("  <parameter=" + name + ">")
}

func (w *writer) close() {
	w.write("</parameter>\n")
}
