package sglang

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
)

// maxModelConfigBytes bounds what is read of a model's config.json; real ones
// have a few KiB.
const maxModelConfigBytes = 1 << 20

// VocabSize finds out how many token ids the served model knows. No endpoint
// of SGLang tells it (0.5.23); the simulator does, and so does config.json in
// the model's folder where proxy and SGLang share a disk. 0 means unknown.
func VocabSize(info ServerInfo) int {
	if info.Simulator != nil {
		return info.Simulator.VocabSize
	}
	if !filepath.IsAbs(info.ModelPath) {
		return 0 // a name on a model hub, or a folder relative to SGLang's own
	}
	return vocabSizeOf(filepath.Join(info.ModelPath, "config.json"))
}

// vocabSizeOf reads the vocabulary size from a model's config.json, or answers
// 0. Models with several parts keep it under text_config.
func vocabSizeOf(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close() //nolint:errcheck // only read
	var config struct {
		VocabSize  int `json:"vocab_size"`
		TextConfig struct {
			VocabSize int `json:"vocab_size"`
		} `json:"text_config"`
	}
	if err := json.NewDecoder(io.LimitReader(f, maxModelConfigBytes)).Decode(&config); err != nil {
		return 0
	}
	if config.VocabSize > 0 {
		return config.VocabSize
	}
	return max(0, config.TextConfig.VocabSize)
}
