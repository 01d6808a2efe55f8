package prompt

import (
	"fmt"
	"strings"
)

// ChatTemplate says how messages become the text a model reads: every message is
// written by its role, one after the other, so that a longer conversation begins with
// the text of the shorter one. Take one of those below, or ReadChatTemplate. Values
// with equal names and texts are equal.
type ChatTemplate struct {
	name string

	begin                   string // before everything
	system, user, assistant frame  // around the messages; an absent system's text goes before the first user's
	between                 string // two messages
	ask                     string // after everything: where the answer begins

	defaultSystem   string // the message of a conversation that has no system message
	withoutThoughts bool   // assistant messages are written without what is up to </think>
}

// frame is what stands around a message's content.
type frame struct {
	before, after string
	given         bool
}

// The templates that are known by name.
var (
	// Qwen25 is the chat format of Qwen2.5 without tools (ChatML), ending
	// where the assistant's answer begins. A conversation without a system
	// message gets the one that the model's own template inserts.
	Qwen25 = chatML("qwen2.5", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", false)
	// Qwen3 is the chat format of Qwen3 without tools: ChatML, without what
	// earlier answers thought (<think>…</think>), and with no system message that
	// the conversation doesn't have.
	Qwen3 = chatML("qwen3", "", true)
	// Plain is the contents alone, a blank line between them: for base
	// models and for seeing what is sent.
	Plain = ChatTemplate{name: "plain", system: bare, user: bare, assistant: bare, between: "\n\n"}
)

var bare = frame{given: true}

func chatML(name, defaultSystem string, withoutThoughts bool) ChatTemplate {
	of := func(role string) frame { return frame{"<|im_start|>" + role + "\n", "<|im_end|>\n", true} }
	return ChatTemplate{
		name: name, system: of(RoleSystem), user: of(RoleUser), assistant: of(RoleAssistant), ask: "<|im_start|>" + RoleAssistant + "\n",
		defaultSystem: defaultSystem, withoutThoughts: withoutThoughts,
	}
}

// ChatTemplateNamed is the template of a name: qwen2.5, qwen3 or plain.
func ChatTemplateNamed(name string) (ChatTemplate, error) {
	for _, ct := range []ChatTemplate{Qwen25, Qwen3, Plain} {
		if ct.name == name {
			return ct, nil
		}
	}
	return ChatTemplate{}, fmt.Errorf("must be qwen2.5, qwen3 or plain, got %q", name)
}

// String returns the name that flags and reports use: "qwen2.5", "qwen3", "plain" or a
// file's.
func (ct ChatTemplate) String() string { return ct.name }

// Render flattens messages into the text that is sent as the prompt. Contents
// are not escaped, as the models' own templates do not escape them either.
func Render(ct ChatTemplate, messages []Message) string {
	text, tail := RenderParts(ct, messages)
	return text + tail
}

// RenderParts is Render in two parts: the messages, and what asks for the answer. The
// first part of a conversation's next turn begins with that of the one before.
func RenderParts(ct ChatTemplate, messages []Message) (text, tail string) {
	var b strings.Builder
	b.WriteString(ct.begin)
	for i, m := range ct.messages(messages) {
		if i > 0 {
			b.WriteString(ct.between)
		}
		f := ct.frame(m.Role)
		b.WriteString(f.before)
		b.WriteString(m.Content)
		b.WriteString(f.after)
	}
	return b.String(), ct.ask
}

// messages are those that are written.
func (ct ChatTemplate) messages(all []Message) []Message {
	out := make([]Message, 0, len(all)+1)
	if ct.defaultSystem != "" && (len(all) == 0 || all[0].Role != RoleSystem) {
		all = append([]Message{{RoleSystem, ct.defaultSystem}}, all...)
	}
	held := "" // the system's text, where it has no place of its own
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
			if ct.withoutThoughts {
				m.Content = withoutThoughts(m.Content) // each is before the last question
			}
		}
		out = append(out, m)
	}
	return out
}

// withoutThoughts is an answer without what its model thought first.
func withoutThoughts(answer string) string {
	if i := strings.LastIndex(answer, "</think>"); i >= 0 {
		return strings.TrimLeft(answer[i+len("</think>"):], "\n")
	}
	return answer
}

func (ct ChatTemplate) frame(role string) frame {
	switch role {
	case RoleSystem:
		return ct.system
	case RoleAssistant:
		return ct.assistant
	}
	return ct.user
}
