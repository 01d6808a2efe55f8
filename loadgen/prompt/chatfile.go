package prompt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// content is where a message's line takes what the message says.
const content = "{content}"

// ReadChatTemplate reads a chat template from a file; see ParseChatTemplate. Errors name
// the file.
func ReadChatTemplate(path string) (ChatTemplate, error) {
	f, err := os.Open(path)
	if err != nil {
		return ChatTemplate{}, err // names the path already
	}
	defer func() { _ = f.Close() }() // only read from
	ct, err := ParseChatTemplate(f, filepath.Base(path))
	return ct, atPath(path, err)
}

// ParseChatTemplate reads a chat template called name: a key, a colon and a text a
// line, where \n, \t and \\ stand for a line's end, a tab and a backslash. It has no
// conditions and no loops, and so nothing in it can fail while a load is made.
//
//	# Llama 3
//	begin: <|begin_of_text|>
//	system: <|start_header_id|>system<|end_header_id|>\n\n{content}<|eot_id|>
//	user: <|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>
//	assistant: <|start_header_id|>assistant<|end_header_id|>\n\n{content}<|eot_id|>
//	ask: <|start_header_id|>assistant<|end_header_id|>\n\n
//
// user and assistant must be given, and take {content} once; so does system, without
// which the system's text goes before the first user's, a blank line between. begin
// and ask are written before and after everything, between stands between two messages,
// default-system is the message of a conversation that has none, and
// "without-thoughts: true" leaves out what answers thought, up to </think>. Blank lines
// and those that begin with # are skipped. One space after the colon is none of the text.
//
// An error names the line and what was expected.
func ParseChatTemplate(r io.Reader, name string) (ChatTemplate, error) {
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

// set puts the text of a line in its place.
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

func unescape(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("expected UTF-8")
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, `\`)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		switch {
		case strings.HasPrefix(after, "n"):
			b.WriteByte('\n')
		case strings.HasPrefix(after, "t"):
			b.WriteByte('\t')
		case strings.HasPrefix(after, `\`):
			b.WriteByte('\\')
		default:
			return "", errors.New(`expected n, t or \ after a backslash`)
		}
		text = after[1:]
	}
}
