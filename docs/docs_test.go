// Package docs checks README.md and the pages beside this file: links lead somewhere,
// and commands name packages and tests that exist. It needs no network.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readmeLimit is the size of README.md in bytes: it is to stay one page.
const readmeLimit = 12 << 10

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	command = regexp.MustCompile(`\bgo (?:run|test|build) [^\n` + "`" + `]*`)
	folder  = regexp.MustCompile(`\s(\./[a-z0-9/]+)`)
	form    = regexp.MustCompile(`curl .*:(?:8080|30000)/(?:[^v]|v1/[^p]).* -d `)
	named   = regexp.MustCompile(`-(?:run|bench|fuzz) '?([A-Za-z|]+)'?`)
)

// pages are the checked files, by their paths from the root of the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, path := range append(paths, "../README.md", "../deploy/README.md", "../deploy/five-minutes.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(text)
	}
	return texts
}

func TestReadmeIsOnePage(t *testing.T) {
	if n := len(pages(t)["../README.md"]); n > readmeLimit {
		t.Errorf("README.md has %d bytes, at most %d", n, readmeLimit)
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	for path, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			body, err := os.ReadFile(file)
			if _, gone := os.Stat(file); gone != nil || anchor != "" && (err != nil || !hasHeading(string(body), anchor)) {
				t.Errorf("%s: link %s leads nowhere", path, m[1])
			}
		}
	}
}

// hasHeading reports whether a page has a heading with that anchor, as GitHub makes it.
func hasHeading(page, anchor string) bool {
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		kept := strings.Map(func(r rune) rune {
			if strings.ContainsRune("`.,:()/'*?", r) {
				return -1
			}
			return r
		}, strings.ToLower(m[1]))
		if strings.ReplaceAll(kept, " ", "-") == anchor {
			return true
		}
	}
	return false
}

func TestCommandsNamePackagesAndTestsThatExist(t *testing.T) {
	tests := testNames(t)
	for path, text := range pages(t) {
		for _, c := range command.FindAllString(text, -1) {
			for _, m := range folder.FindAllStringSubmatch(c, -1) {
				if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
					t.Errorf("%s: %q: no folder %s", path, c, m[1])
				}
			}
			for _, m := range named.FindAllStringSubmatch(c, -1) {
				for name := range strings.SplitSeq(m[1], "|") {
					if !strings.Contains(tests, name) {
						t.Errorf("%s: %q: no test or benchmark has %s in its name", path, c, name)
					}
				}
			}
		}
	}
}

// SGLang takes a form, which curl -d sends, on none of its paths.
func TestCommandsSayThatABodyForSGLangIsJSON(t *testing.T) {
	for path, text := range pages(t) {
		for _, c := range form.FindAllString(text, -1) {
			t.Errorf("%s: %q: --json is missing", path, c)
		}
	}
}

// testNames are the names of all tests, benchmarks and fuzz targets, a line each.
func testNames(t *testing.T) string {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	var names strings.Builder
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			names.WriteString(m[1] + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names.String()
}
