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
	Name              string  `yaml:"name"`                // of the caller, for fairness; in no answer
	Key               string  `yaml:"key"`                 // the bearer token
	Weight            float64 `yaml:"weight"`              // share of SGLang relative to other callers; default 1
	RequestsPerSecond float64 `yaml:"requests_per_second"` // max prompts; 0 sets no bound
	Admin             bool    `yaml:"admin"`               // opens the admin listener too
}

// apiKey is a key of the file, with its caller.
type apiKey struct {
	caller upstream.Caller
	admin  bool
}

// minKeyLength is the min bytes of a key, so that keys can't be guessed.
const minKeyLength = 16

// keyring holds the keys of a file, and reads it again when it changes. It is safe for
// concurrent use. A nil keyring asks for no key.
type keyring struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex // guards all fields below
	looked  time.Time
	version fileVersion
	keys    map[[sha256.Size]byte]*apiKey // by digest, so that the time of a lookup reveals no part of a key
}

// openKeys reads a keys file. It returns nil if path is empty.
func openKeys(path string, log *slog.Logger) (*keyring, error) {
	if path == "" {
		return nil, nil
	}
	k := &keyring{path: path, log: log}
	return k, k.read()
}

// fileVersion detects changes of a file.
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

// lookAgain is the max time until a change of a file is noticed.
const lookAgain = time.Second

// find returns the entry of a key, or nil.
func (k *keyring) find(key string) *apiKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.looked) >= lookAgain {
		k.looked = now
		if v, err := versionOf(k.path); err != nil || v != k.version {
			if err := k.readLocked(); err != nil {
				k.log.Error("the keys file can't be read again: the previous keys stay", "error", err)
				k.version = v // logged once
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

// readLocked reads the file. A caller whose rate is unchanged keeps its used part of the
// rate. It requires mu.
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
		return fmt.Errorf("%s: not a list of keys (name, key, weight, requests_per_second, admin)", k.path) // err quotes the file
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
			key.caller.Rate = rate.NewLimiter(limit, int(math.Ceil(e.RequestsPerSecond))) // bursts of one second
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
