package trajectory

import (
	"bytes"
	_ "embed"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed vocabulary.yaml
var vocabularyFile []byte

// vocabulary is vocabulary.yaml.
type vocabulary struct {
	Projects []string            `yaml:"projects"`
	Words    map[string][]string `yaml:"words"` // by slot

	Issue   map[string][]string `yaml:"issue"`
	Python  map[string][]string `yaml:"python"`
	Thought map[string][]string `yaml:"thought"`
	Call    map[string]string   `yaml:"call"` // how it begins
	Command map[string][]string `yaml:"command"`
	Output  map[string][]string `yaml:"output"`

	TokenWords string `yaml:"token_words"`
	tokenWords []string
}

// texts reads vocabulary.yaml once.
var texts = sync.OnceValue(func() *vocabulary {
	v := new(vocabulary)
	if err := yaml.Unmarshal(vocabularyFile, v); err != nil {
		panic("vocabulary.yaml: " + err.Error()) // embedded, and read by every test
	}
	v.tokenWords = strings.Fields(v.TokenWords)
	return v
})

// writer builds one text from templates. Words come from its stream.
type writer struct {
	stream
	*vocabulary
	subject map[string]string // by slot: the names that recur in one trajectory
	b       []byte
}

// newSubject draws the recurring names of one trajectory.
func newSubject(project string, s stream) map[string]string {
	words := texts().Words
	return map[string]string{ // drawn in this order
		"Project":  project,
		"Module":   s.pick(words["module"]),
		"Class":    s.pick(words["class_head"]) + s.pick(words["class_tail"]),
		"Function": s.pick(words["verb"]) + "_" + s.pick(words["noun"]),
		"Argument": s.pick(words["noun"]),
		"Fault":    s.pick(words["fault"]),
	}
}

// pop returns the text written so far and starts the next one.
func (w *writer) pop() string {
	text := string(w.b)
	w.b = w.b[:0]
	return text
}

// write appends text as it is.
func (w *writer) write(text string) { w.b = append(w.b, text...) }

// expand appends a template with each known {slot} replaced.
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

// expandOne expands one of the templates, drawn at random.
func (w *writer) expandOne(templates []string) { w.expand(w.pick(templates)) }

// slot appends the text of a slot. It returns false if the name is no slot.
func (w *writer) slot(name string) bool {
	if text, ok := w.subject[name]; ok {
		w.write(text)
		return true
	}
	if words, ok := w.Words[name]; ok {
		w.write(w.pick(words))
		return true
	}
	switch name {
	case "class":
		w.expand("{class_head}{class_tail}")
	case "function":
		w.expand("{verb}_{noun}")
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

// fill calls more until the text has size bytes, and cuts the rest. It keeps the earlier text, even if
// that is longer than size.
func (w *writer) fill(size int, more func()) {
	start := len(w.b)
	for len(w.b) < size {
		more()
	}
	w.cut(start, size)
}

// cut shortens the text to at most size bytes, but not to less than start. It cuts at the end of a word,
// so that no character is split.
func (w *writer) cut(start, size int) {
	if len(w.b) <= max(start, size) {
		return
	}
	kept := w.b[start : size+1]
	w.b = w.b[:start+len(bytes.TrimRight(kept[:max(0, bytes.LastIndexAny(kept, " \n"))], " \n"))]
}
