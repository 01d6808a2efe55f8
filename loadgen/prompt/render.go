package prompt

import (
	"fmt"
	"strings"
)

// ChatTemplate says how messages become the text a model reads.
type ChatTemplate int

const (
	// Qwen25 is the chat format of Qwen2.5 without tools (ChatML), ending
	// where the assistant's answer begins. A conversation without a system
	// message gets the one that the model's own template inserts.
	Qwen25 ChatTemplate = iota
	// Qwen3 is the chat format of Qwen3 without tools: ChatML, without what
	// earlier answers thought (<think>…</think>), and with no system message that
	// the conversation doesn't have.
	Qwen3
	// Plain is the contents alone, a blank line between them: for base
	// models and for seeing what is sent.
	Plain
)

// qwenSystem is what Qwen2.5's tokenizer_config.json inserts by default.
const qwenSystem = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

// ChatTemplateNamed is the template of a name: qwen2.5, qwen3 or plain.
func ChatTemplateNamed(name string) (ChatTemplate, error) {
	for _, ct := range []ChatTemplate{Qwen25, Qwen3, Plain} {
		if ct.String() == name {
			return ct, nil
		}
	}
	return 0, fmt.Errorf("must be qwen2.5, qwen3 or plain, got %q", name)
}

// String returns the name that flags and reports use: "qwen2.5", "qwen3" or "plain".
func (ct ChatTemplate) String() string {
	switch ct {
	case Qwen25:
		return "qwen2.5"
	case Qwen3:
		return "qwen3"
	case Plain:
		return "plain"
	default:
		return fmt.Sprintf("ChatTemplate(%d)", int(ct))
	}
}

// Render flattens messages into the text that is sent as the prompt. Contents
// are not escaped, as the model's own template does not escape them either.
func Render(ct ChatTemplate, messages []Message) string {
	switch ct {
	case Plain:
		return renderPlain(messages)
	case Qwen3:
		return renderQwen3(messages)
	}
	return renderQwen25(messages)
}

// RenderParts is Render in two parts: the messages, and what asks for the answer. The
// first part of a conversation's next turn begins with that of the one before.
func RenderParts(ct ChatTemplate, messages []Message) (text, tail string) {
	text = Render(ct, messages)
	if ct != Plain {
		tail = "<|im_start|>" + RoleAssistant + "\n"
	}
	return strings.TrimSuffix(text, tail), tail
}

func renderPlain(messages []Message) string {
	contents := make([]string, len(messages))
	for i, m := range messages {
		contents[i] = m.Content
	}
	return strings.Join(contents, "\n\n")
}

func renderQwen25(messages []Message) string {
	var b strings.Builder
	if len(messages) == 0 || messages[0].Role != RoleSystem {
		writeChatML(&b, Message{Role: RoleSystem, Content: qwenSystem})
	}
	for _, m := range messages {
		writeChatML(&b, m)
	}
	b.WriteString("<|im_start|>" + RoleAssistant + "\n")
	return b.String()
}

func renderQwen3(messages []Message) string {
	var b strings.Builder
	for _, m := range messages {
		if m.Role == RoleAssistant { // each is before the last question
			if i := strings.LastIndex(m.Content, "</think>"); i >= 0 {
				m.Content = strings.TrimLeft(m.Content[i+len("</think>"):], "\n")
			}
		}
		writeChatML(&b, m)
	}
	b.WriteString("<|im_start|>" + RoleAssistant + "\n")
	return b.String()
}

func writeChatML(b *strings.Builder, m Message) {
	b.WriteString("<|im_start|>")
	b.WriteString(m.Role)
	b.WriteByte('\n')
	b.WriteString(m.Content)
	b.WriteString("<|im_end|>\n")
}
