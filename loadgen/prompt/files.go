package prompt

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

//go:embed system.txt
var defaultSystem string

//go:embed instance.txt
var defaultInstance string

// Default returns Paceline's own texts: a coding agent with the tools
// file_editor, execute_bash, search and finish. They were written for this
// project in the shape and length of R2E-Gym's, so that first turns weigh what
// the benchmark's did. Qwen2.5 tokens as measured, R2E-Gym's in brackets:
//
//	system text                          1246  (1249)
//	instance text before the placeholder   24  (25)
//	instance text after the placeholder  1150  (1153)
//	prefix common to all first turns     1278  (1282)
//
// The prefix counts Qwen25's marks up to the placeholder. Of a first turn with
// a statement of average length that is 44 %, and all of it that a prefix
// cache can reuse: what follows the statement is alike as well, but no prefix.
func Default() Template {
	return Template{System: trimNewline(defaultSystem), Instance: trimNewline(defaultInstance)}
}

// Load reads the texts from the files named; an empty path means the default.
// One line end at the end of a file is dropped, because editors put it there;
// everything else is used as it is. It fails, naming the file, if one can't be
// read, is empty or not UTF-8, or if the instance file does not hold
// Placeholder exactly once.
func Load(systemPath, instancePath string) (Template, error) {
	t := Default()
	if systemPath != "" {
		text, err := readText(systemPath)
		if err != nil {
			return Template{}, fmt.Errorf("system prompt: %w", err)
		}
		t.System, t.systemGiven = text, true
	}
	if instancePath != "" {
		text, err := readText(instancePath)
		if err == nil {
			err = atPath(instancePath, checkInstance(text))
		}
		if err != nil {
			return Template{}, fmt.Errorf("instance prompt: %w", err)
		}
		t.Instance, t.instanceGiven = text, true
	}
	return t, nil
}

func readText(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err // names the path already
	}
	text := trimNewline(string(raw))
	switch {
	case text == "":
		return "", atPath(path, errors.New("the file is empty"))
	case !utf8.ValidString(text):
		return "", atPath(path, errors.New("the file is not UTF-8"))
	}
	return text, nil
}

// atPath puts the file's path before err, if there is one.
func atPath(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", path, err)
}

func trimNewline(text string) string {
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
}
