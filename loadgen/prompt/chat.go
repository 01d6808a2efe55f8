package prompt

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
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
// chatFile. Its error names the file.
func FindChatTemplate(name string) (ChatTemplate, error) {
	if text, err := named.ReadFile("chat/" + name + ".yaml"); err == nil {
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
	content      = "{content}" // the place of a message's content in the text of a role
	endOfThought = "</think>"
)

// chatFile is a chat template in YAML. There are no conditions and no loops, so rendering can't fail.
//
//	# Llama 3
//	begin: <|begin_of_text|>
//	system: "<|start_header_id|>system<|end_header_id|>\n\n{content}<|eot_id|>"
//	user: "<|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>"
//	assistant: "<|start_header_id|>assistant<|end_header_id|>\n\n{content}<|eot_id|>"
//	ask: "<|start_header_id|>assistant<|end_header_id|>\n\n"
type chatFile struct {
	Begin           string  `yaml:"begin"`            // before everything
	System          *string `yaml:"system"`           // without it, its text goes before the first user's, with a blank line between
	User            string  `yaml:"user"`             // required, and holds {content} once, as system and assistant do
	Assistant       string  `yaml:"assistant"`        // required
	Between         string  `yaml:"between"`          // between two messages
	Ask             string  `yaml:"ask"`              // after everything
	DefaultSystem   string  `yaml:"default-system"`   // the system message of a conversation that has none
	WithoutThoughts bool    `yaml:"without-thoughts"` // answers are written without what is up to </think>
}

// parseChatTemplate parses a chat template called name. Its error names the line or the field.
func parseChatTemplate(r io.Reader, name string) (ChatTemplate, error) {
	var f chatFile
	d := yaml.NewDecoder(r)
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return ChatTemplate{}, err
	}
	ct := ChatTemplate{
		name: name, begin: f.Begin, between: f.Between, ask: f.Ask, defaultSystem: f.DefaultSystem, withoutThoughts: f.WithoutThoughts,
	}
	for _, role := range []struct {
		name string
		text *string
		to   *frame
	}{{RoleSystem, f.System, &ct.system}, {RoleUser, &f.User, &ct.user}, {RoleAssistant, &f.Assistant, &ct.assistant}} {
		if role.text == nil {
			continue
		}
		if n := strings.Count(*role.text, content); n != 1 {
			return ChatTemplate{}, fmt.Errorf("%s: expected a text that holds %s once, found it %d times", role.name, content, n)
		}
		role.to.before, role.to.after, _ = strings.Cut(*role.text, content)
		role.to.given = true
	}
	return ct, nil
}
