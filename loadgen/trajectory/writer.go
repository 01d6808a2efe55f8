package trajectory

import (
	"bytes"
	"strconv"
	"strings"
)

// subject is what one trajectory is about: the names that keep coming back in
// its statement, its calls and their output.
type subject struct {
	project, module string
	class, function string
	argument, fault string // fault is an exception's type
}

func newSubject(project string, s stream) subject {
	return subject{
		project:  project,
		module:   s.pick(modules),
		class:    s.pick(classHeads) + s.pick(classTails),
		function: s.pick(verbs) + "_" + s.pick(nouns),
		argument: s.pick(nouns),
		fault:    s.pick(errorTypes),
	}
}

// writer builds one text from templates. Words come from its stream.
type writer struct {
	stream
	subject subject
	b       []byte
}

// take returns the text written so far and starts the next one.
func (w *writer) take() string {
	text := string(w.b)
	w.b = w.b[:0]
	return text
}

// write appends text as it is.
func (w *writer) write(text string) {
	w.b = append(w.b, text...)
}

// expand appends a template, with each {slot} that it knows replaced.
func (w *writer) expand(template string) {
	for {
		before, rest, found := strings.Cut(template, "{")
		w.write(before)
		if !found {
			return
		}
		slot, after, found := strings.Cut(rest, "}")
		if found && w.slot(slot) {
			template = after
			continue
		}
		w.write("{") // a brace of the text itself
		template = rest
	}
}

// expandOne expands one of the templates.
func (w *writer) expandOne(templates []string) {
	w.expand(w.pick(templates))
}

// slot appends what a slot stands for. Capitalised slots are the subject's.
func (w *writer) slot(name string) bool {
	switch name {
	case "Project":
		w.write(w.subject.project)
	case "Module":
		w.write(w.subject.module)
	case "Class":
		w.write(w.subject.class)
	case "Function":
		w.write(w.subject.function)
	case "Argument":
		w.write(w.subject.argument)
	case "Fault":
		w.write(w.subject.fault)
	case "module":
		w.write(w.pick(modules))
	case "class":
		w.write(w.pick(classHeads))
		w.write(w.pick(classTails))
	case "function":
		w.write(w.pick(verbs))
		w.write("_")
		w.write(w.pick(nouns))
	case "noun":
		w.write(w.pick(nouns))
	case "verb":
		w.write(w.pick(verbs))
	case "adjective":
		w.write(w.pick(adjectives))
	case "value":
		w.write(w.pick(literals))
	case "fault":
		w.write(w.pick(errorTypes))
	case "system":
		w.write(w.pick(systems))
	case "digit":
		w.number(1, 9)
	case "line":
		w.number(12, 1400)
	case "count":
		w.number(2, 240)
	case "hex":
		w.b = strconv.AppendUint(w.b, w.pcg.Uint64()>>36|1<<27, 16)
	default:
		return false
	}
	return true
}

// number appends a number from low to high.
func (w *writer) number(low, high int) {
	w.b = strconv.AppendInt(w.b, int64(low+w.below(high-low+1)), 10)
}

// fill calls more until the text is size bytes long, and cuts what it wrote too
// much. What stood there before stays, even if it is longer than size.
func (w *writer) fill(size int, more func()) {
	start := len(w.b)
	for len(w.b) < size {
		more()
	}
	w.cut(start, size)
}

// cut shortens the text to at most size bytes, but not to less than start. It
// cuts where a word ends, so that no character is torn.
func (w *writer) cut(start, size int) {
	if len(w.b) <= max(start, size) {
		return
	}
	kept := w.b[start : size+1]
	w.b = w.b[:start+len(bytes.TrimRight(kept[:max(0, bytes.LastIndexAny(kept, " \n"))], " \n"))]
}
