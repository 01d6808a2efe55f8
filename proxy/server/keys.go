package server

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/time/rate"

	"paceline/proxy/upstream"
)

// keyEntry is one key in the keys file, a YAML list.
type keyEntry struct {
	Name              string  `yaml:"name"`                // of the caller, for fairness; told in no answer
	Key               string  `yaml:"key"`                 // the bearer token
	Weight            float64 `yaml:"weight"`              // its share of SGLang beside other callers'; 1 if left out
	RequestsPerSecond float64 `yaml:"requests_per_second"` // most prompts; 0 sets no bound
	Admin             bool    `yaml:"admin"`               // opens the admin listener, too
}

// apiKey is who came with a key.
type apiKey struct {
	caller upstream.Caller
	admin  bool
}

// minKeyLength keeps keys from being guessed.
const minKeyLength = 16

// keyring holds the keys of a file, and follows the file. It is safe for
// concurrent use; nil knows no keys and asks for none.
type keyring struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex // guards all below
	looked  time.Time
	version fileVersion
	keys    map[[sha256.Size]byte]*apiKey // by digest: finding one tells nothing of how much of a key is right
}

// openKeys reads a keys file; no path, no keyring.
func openKeys(path string, log *slog.Logger) (*keyring, error) {
	if path == "" {
		return nil, nil
	}
	k := &keyring{path: path, log: log}
	return k, k.read()
}

// fileVersion tells a file from what it was before.
type fileVersion struct {
	modified time.Time
	size     int64
}

func versionOf(path string) (fileVersion, error) {
	f, err := os.Stat(path)
	if err != nil {
		return fileVersion{}, err
	}
	return fileVersion{f.ModTime(), f.Size()}, nil
}

// lookAgain is how long a file may have changed unnoticed.
const lookAgain = time.Second

// find returns whose key it is, or nil.
func (k *keyring) find(key string) *apiKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.looked) >= lookAgain {
		k.looked = now
		if v, err := versionOf(k.path); err != nil || v != k.version {
			if err := k.readLocked(); err != nil {
				k.log.Error("the keys file can't be read again: the keys of before stay", "error", err)
				k.version = v // said once
			}
		}
	}
	return k.keys[sha256.Sum256([]byte(key))]
}

func (k *keyring) read() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looked = time.Now()
	return k.readLocked()
}

// readLocked requires mu. A caller whose rate stays the same keeps what it has
// used of it.
func (k *keyring) readLocked() error {
	v, err := versionOf(k.path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(k.path)
	if err != nil {
		return err
	}
	var entries []keyEntry
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&entries); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: not a list of keys (name, key, weight, requests_per_second, admin)", k.path) // its own error quotes the file
	}
	keys, err := keysOf(entries, k.keys)
	if err != nil {
		return fmt.Errorf("%s: %w", k.path, err)
	}
	k.keys, k.version = keys, v
	return nil
}

func keysOf(entries []keyEntry, before map[[sha256.Size]byte]*apiKey) (map[[sha256.Size]byte]*apiKey, error) {
	keys := make(map[[sha256.Size]byte]*apiKey, len(entries))
	for i, e := range entries {
		place := func(field, problem string) error { return fmt.Errorf("[%d].%s: %s", i, field, problem) }
		digest := sha256.Sum256([]byte(e.Key))
		switch {
		case e.Name == "":
			return nil, place("name", "must not be empty")
		case len(e.Key) < minKeyLength:
			return nil, place("key", fmt.Sprintf("must have at least %d characters", minKeyLength))
		case keys[digest] != nil:
			return nil, place("key", "is set twice")
		case !(e.Weight >= 0 && e.Weight <= 1e6):
			return nil, place("weight", fmt.Sprintf("must be from 0 (for 1) to 1000000, got %v", e.Weight))
		case !(e.RequestsPerSecond >= 0 && e.RequestsPerSecond <= 1e9):
			return nil, place("requests_per_second", fmt.Sprintf("must be from 0 (no bound) to 1000000000, got %v", e.RequestsPerSecond))
		}
		key := &apiKey{caller: upstream.Caller{Name: e.Name, Weight: e.Weight}, admin: e.Admin}
		if e.RequestsPerSecond > 0 {
			limit := rate.Limit(e.RequestsPerSecond)
			key.caller.Rate = rate.NewLimiter(limit, int(math.Ceil(e.RequestsPerSecond))) // a second's worth at once
			if old := before[digest]; old != nil && old.caller.Rate != nil && old.caller.Rate.Limit() == limit {
				key.caller.Rate = old.caller.Rate
			}
		}
		keys[digest] = key
	}
	if len(keys) == 0 {
		return nil, errors.New("holds no key")
	}
	return keys, nil
}
