package prompt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const chatMLFile = `# ChatML, as Qwen2.5 has it
system: "<|im_start|>system\n{content}<|im_end|>\n"
user: "<|im_start|>user\n{content}<|im_end|>\n"
assistant: "<|im_start|>assistant\n{content}<|im_end|>\n"

ask: "<|im_start|>assistant\n"
default-system: You are Qwen, created by Alibaba Cloud. You are a helpful assistant.
`

func anyConversation(t *rapid.T) []Message {
	return rapid.SliceOf(rapid.Custom(func(t *rapid.T) Message {
		return Message{rapid.SampledFrom([]string{RoleUser, RoleAssistant}).Draw(t, "role"), rapid.String().Draw(t, "content")}
	})).Draw(t, "messages")
}

func TestAFileCanSayWhatANamedTemplateDoes(t *testing.T) {
	ct, err := parseChatTemplate(strings.NewReader(chatMLFile), "chatml.txt")
	if err != nil || ct.String() != "chatml.txt" {
		t.Fatal(ct, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		messages := anyConversation(t)
		if rapid.Bool().Draw(t, "system") {
			messages = append([]Message{{RoleSystem, "s"}}, messages...)
		}
		if got, want := Render(ct, messages), Render(Qwen25, messages); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestATemplateOfLlama3(t *testing.T) {
	const file = `begin: <|begin_of_text|>
system: "<|start_header_id|>system<|end_header_id|>\n\n{content}<|eot_id|>"
user: "<|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>"
assistant: "<|start_header_id|>assistant<|end_header_id|>\n\n{content}<|eot_id|>"
ask: "<|start_header_id|>assistant<|end_header_id|>\n\n"`
	ct, err := parseChatTemplate(strings.NewReader(file), "llama3")
	if err != nil {
		t.Fatal(err)
	}
	want := "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>" +
		"<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>" +
		"<|start_header_id|>assistant<|end_header_id|>\n\n"
	if got := Render(ct, []Message{{RoleSystem, "S"}, {RoleUser, "U"}}); got != want {
		t.Errorf("got %q", got)
	}
}

func TestWithoutASystemLineItsTextGoesBeforeTheFirstUsers(t *testing.T) {
	text := "user: \"[INST] {content} [/INST]\"\nassistant: \" {content}</s>\"\nwithout-thoughts: true\nbetween: \"|\"\n"
	ct, err := parseChatTemplate(strings.NewReader(text), "mistral")
	if err != nil {
		t.Fatal(err)
	}
	got := Render(ct, []Message{{RoleSystem, "S"}, {RoleUser, "U"}, {RoleAssistant, "<think>x</think>\nA"}, {RoleUser, "V"}})
	if want := "[INST] S\n\nU [/INST]| A</s>|[INST] V [/INST]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatIsWrongInATemplateIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"user: x":                        "user: expected a text that holds {content} once, found it 0 times",
		"\nuser {content}":               "line 2",
		"begin: a\nbegin: b":             "line 2",
		"tool: \"{content}\"":            "line 1: field tool not found",
		"ask: \xff":                      "invalid",
		"without-thoughts: perhaps":      "line 1",
		"user: \"{content}\"":            "assistant: expected a text",
		"system: \"{content}{content}\"": "system: expected a text that holds {content} once, found it 2 times",
		"":                               "user: expected a text",
	} {
		if _, err := parseChatTemplate(strings.NewReader(text), "t"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %s", text, err, want)
		}
	}
}

func TestATemplateFileIsNamedInErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.txt")
	if _, err := FindChatTemplate(path); err == nil || !strings.Contains(err.Error(), "chat.txt") {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("user"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FindChatTemplate(path); err == nil || !strings.Contains(err.Error(), "chat.txt: ") {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte(chatMLFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if ct, err := FindChatTemplate(path); err != nil || ct.String() != "chat.txt" {
		t.Error(ct, err)
	}
}

// FuzzParseChatTemplate: any file is refused in words or gives a template under which
// longer conversations begin with shorter ones.
func FuzzParseChatTemplate(f *testing.F) {
	f.Add(chatMLFile)
	f.Add("user: \"{content}\"\nassistant: \"{content}\"\n")
	f.Add("user: \"a{content}\\n\"\nassistant: \"{content}\"\nwithout-thoughts: true\r\nbetween: \"x\"")
	f.Add("system: \"{content}{content}\"")
	f.Fuzz(func(t *testing.T, text string) {
		ct, err := parseChatTemplate(strings.NewReader(text), "t")
		if err != nil {
			return
		}
		messages := []Message{{RoleSystem, "s"}, {RoleUser, "u"}, {RoleAssistant, "a"}, {RoleUser, "v"}}
		short, _ := RenderParts(ct, messages[:2])
		long, tail := RenderParts(ct, messages)
		if !strings.HasPrefix(long, short) || !strings.HasSuffix(Render(ct, messages), tail) {
			t.Errorf("%q does not continue %q", long, short)
		}
	})
}
