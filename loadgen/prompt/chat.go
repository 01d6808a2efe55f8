package prompt

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ChatTemplate says how messages become the text that a model reads. Messages are written one after
// the other, each by its role, so that the text of a conversation is a prefix of its continuation.
// Use one of those below or FindChatTemplate.
type ChatTemplate struct {
	name string

	begin                   string // before everything
	system, user, assistant frame  // around the messages; an absent system's text goes before the first user's
	between                 string // between two messages
	ask                     string // after everything: where the answer begins

	defaultSystem   string // the message of a conversation that has no system message
	withoutThoughts bool   // assistant messages are written without what is up to </think>
}

// frame is the text around a message's content.
type frame struct {
	before, after string
	given         bool
}

//go:embed chat
var named embed.FS // a file for each template that has a name

// The templates that have names; their files in chat say more.
var (
	Qwen25 = mustFind("qwen2.5")
	Qwen3  = mustFind("qwen3")
	Plain  = mustFind("plain")
)

func mustFind(name string) ChatTemplate {
	ct, err := FindChatTemplate(name)
	if err != nil {
		panic(err) // built into the binary
	}
	return ct
}

// FindChatTemplate returns the template with a name (qwen2.5, qwen3 or plain) or from a file; see
// parseChatTemplate. Its error names the file.
func FindChatTemplate(name string) (ChatTemplate, error) {
	if text, err := named.ReadFile("chat/" + name + ".txt"); err == nil {
		return parseChatTemplate(bytes.NewReader(text), name)
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return ChatTemplate{}, fmt.Errorf("must be qwen2.5, qwen3 or plain, got %q, and there is no such file", name)
	}
	if err != nil {
		return ChatTemplate{}, err // names the path already
	}
	defer f.Close() //nolint:errcheck // only read
	ct, err := parseChatTemplate(f, filepath.Base(name))
	return ct, atPath(name, err)
}

// String returns the name of the template, or of its file.
func (ct ChatTemplate) String() string { return ct.name }

// Render flattens messages into the text of a prompt. Like the models' own templates, it escapes
// nothing.
func Render(ct ChatTemplate, messages []Message) string {
	text, tail := RenderParts(ct, messages)
	return text + tail
}

// RenderParts is Render in two parts: the messages, and the text that asks for the answer. The first
// part of a turn is a prefix of the first part of the next turn.
func RenderParts(ct ChatTemplate, messages []Message) (text, tail string) {
	var b strings.Builder
	b.WriteString(ct.begin)
	for i, m := range ct.messages(messages) {
		if i > 0 {
			b.WriteString(ct.between)
		}
		f := ct.user
		switch m.Role {
		case RoleSystem:
			f = ct.system
		case RoleAssistant:
			f = ct.assistant
		}
		b.WriteString(f.before + m.Content + f.after)
	}
	return b.String(), ct.ask
}

// messages returns the messages as they are written.
func (ct ChatTemplate) messages(all []Message) []Message {
	out := make([]Message, 0, len(all)+1)
	if ct.defaultSystem != "" && (len(all) == 0 || all[0].Role != RoleSystem) {
		all = append([]Message{{RoleSystem, ct.defaultSystem}}, all...)
	}
	held := "" // the system's text, if it has no place of its own
	for _, m := range all {
		switch m.Role {
		case RoleSystem:
			if !ct.system.given {
				held += m.Content + "\n\n"
				continue
			}
		case RoleUser:
			m.Content, held = held+m.Content, ""
		case RoleAssistant:
			if i := strings.LastIndex(m.Content, endOfThought); i >= 0 && ct.withoutThoughts { // each is before the last question
				m.Content = strings.TrimLeft(m.Content[i+len(endOfThought):], "\n")
			}
		}
		out = append(out, m)
	}
	return out
}

const (
	content      = "{content}" // the place of a message's content in the line of a role
	endOfThought = "</think>"
)

// parseChatTemplate parses a chat template called name. Each line has a key, a colon and a text with
// the escapes \n, \t and \\ of Go's strings. There are no conditions and no loops, so rendering can't
// fail.
//
//	# Llama 3
//	begin: <|begin_of_text|>
//	system: <|start_header_id|>system<|end_header_id|>\n\n{content}<|eot_id|>
//	user: <|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>
//	assistant: <|start_header_id|>assistant<|end_header_id|>\n\n{content}<|eot_id|>
//	ask: <|start_header_id|>assistant<|end_header_id|>\n\n
//
// user and assistant are required and hold {content} once. system holds it once, too; without system,
// its text goes before the first user's, with a blank line between. begin and ask are written before
// and after everything, and between is written between two messages. default-system is the system
// message of a conversation that has none. "without-thoughts: true" leaves out the thoughts of answers,
// up to </think>. parseChatTemplate skips blank lines and lines that begin with #, and drops one space
// after the colon. Its error names the line and what was expected.
func parseChatTemplate(r io.Reader, name string) (ChatTemplate, error) {
	ct := ChatTemplate{name: name}
	seen := map[string]bool{}
	lines := bufio.NewScanner(r)
	number := 0
	for lines.Scan() {
		number++
		line := strings.TrimSuffix(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, text, ok := strings.Cut(line, ":")
		if !ok {
			return ChatTemplate{}, fmt.Errorf("line %d: expected a key and a colon: %s", number, chatKeys)
		}
		if seen[key] {
			return ChatTemplate{}, fmt.Errorf("line %d: %s is given twice", number, key)
		}
		seen[key] = true
		if err := ct.set(key, strings.TrimPrefix(text, " ")); err != nil {
			return ChatTemplate{}, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return ChatTemplate{}, fmt.Errorf("line %d: %w", number+1, err)
	}
	for _, must := range []string{RoleUser, RoleAssistant} {
		if !seen[must] {
			return ChatTemplate{}, fmt.Errorf("%s is missing: expected a line such as %s: <%s>%s", must, must, must, content)
		}
	}
	return ct, nil
}

const chatKeys = "one of begin, system, user, assistant, between, ask, default-system, without-thoughts"

// set sets the field of a key.
func (ct *ChatTemplate) set(key, text string) error {
	places := map[string]*string{"begin": &ct.begin, "between": &ct.between, "ask": &ct.ask, "default-system": &ct.defaultSystem}
	frames := map[string]*frame{RoleSystem: &ct.system, RoleUser: &ct.user, RoleAssistant: &ct.assistant}
	text, err := unescape(text)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if place, ok := places[key]; ok {
		*place = text
		return nil
	}
	if f, ok := frames[key]; ok {
		if n := strings.Count(text, content); n != 1 {
			return fmt.Errorf("%s: expected %s once, found it %d times", key, content, n)
		}
		f.before, f.after, _ = strings.Cut(text, content)
		f.given = true
		return nil
	}
	if key != "without-thoughts" {
		return fmt.Errorf("expected %s", chatKeys)
	}
	ct.withoutThoughts = text == "true"
	if text != "true" && text != "false" {
		return errors.New("without-thoughts: expected true or false")
	}
	return nil
}

// unescape replaces the escapes of Go's strings.
func unescape(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("expected UTF-8")
	}
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		return "", errors.New(`expected n, t or \ after a backslash`)
	}
	return out, nil
}
