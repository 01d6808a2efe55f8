package sglang

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheVocabularyIsReadFromTheModelsFolder(t *testing.T) {
	for config, want := range map[string]int{
		`{"vocab_size": 151936}`:                  151936,
		`{"text_config": {"vocab_size": 262144}}`: 262144,
		`{}`:                 0,
		`{"vocab_size": -4}`: 0,
		`not JSON`:           0,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := VocabSize(ServerInfo{ModelPath: dir}); got != want {
			t.Errorf("%s: got %d", config, got)
		}
	}
}

func TestAModelThatIsNoFolderHasNoKnownVocabulary(t *testing.T) {
	for _, path := range []string{"", "Qwen/Qwen2.5-7B", filepath.Join(t.TempDir(), "none")} {
		if got := VocabSize(ServerInfo{ModelPath: path}); got != 0 {
			t.Errorf("%q: got %d", path, got)
		}
	}
}
