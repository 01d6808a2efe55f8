package sim

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTokenCountsAreAboutQwens compares totals with counts taken with Qwen2.5's
// own tokenizer.
func TestTokenCountsAreAboutQwens(t *testing.T) {
	data := filepath.Join("..", "..", "..", "shared", "data")
	f, err := os.Open(filepath.Join(data, "swe_verified_500.jsonl"))
	if err != nil {
		t.Skip("the problem statements are not beside the checkout: ", err)
	}
	defer f.Close()
	const vocab = 151_936
	read := func(file string) string {
		text, err := os.ReadFile(filepath.Join(data, "prompts", file))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	system, instance := read("system.txt"), read("instance_r2egym_later.txt")
	statements, firstTurns, n := 0, 0, 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var row struct {
			Problem string `json:"problem_statement"`
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		statements += len(Tokenize(row.Problem, vocab))
		firstTurns += len(Tokenize(system+"\n"+strings.ReplaceAll(instance, "{problem_statement}", row.Problem), vocab))
		n++
	}
	about(t, "mean of the statements", float64(statements)/float64(n), 470.8, 0.03)
	for file, want := range map[string]float64{"system.txt": 1249, "instance_r2egym_later.txt": 1177} {
		about(t, file, float64(len(Tokenize(read(file), vocab))), want, 0.08)
	}
	about(t, "all first turns", float64(firstTurns), 1_448_498, 0.03)
}

func about(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	t.Logf("%s: %.1f tokens, %+.1f %%", what, got, 100*(got/want-1))
	if math.Abs(got/want-1) > tolerance {
		t.Errorf("%s: %.1f tokens, want %.1f within %.0f %%", what, got, want, 100*tolerance)
	}
}

func TestTokensOfAPrefixAreAPrefixButForItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.StringOf(rapid.RuneFrom([]rune("abZ_ .(\n\t7é漢"))).Draw(t, "a")
		b := rapid.StringOf(rapid.RuneFrom([]rune("abZ_ .(\n\t7é漢"))).Draw(t, "b")
		short, long := Tokenize(a, 1000), Tokenize(a+b, 1000)
		keep := max(0, len(short)-3)
		if len(long) < keep || !slices.Equal(short[:keep], long[:keep]) {
			t.Fatalf("%q: %v is no prefix of %v", a, short, long)
		}
	})
}

func BenchmarkTokenize(b *testing.B) {
	text := strings.Repeat("def f(self, value):\n    return self._cache.get(value, None)  # looked up\n", 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Tokenize(text, 151_936)
	}
}
