package server

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"

	"go.yaml.in/yaml/v3"
	"golang.org/x/time/rate"

	"paceline/proxy/file"
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
	followed

	keys atomic.Pointer[keysByDigest]
}

// keysByDigest has a digest of each key, so that the time of a lookup reveals no part of it.
type keysByDigest map[[sha256.Size]byte]*apiKey

// openKeys reads a keys file. It returns nil if path is empty.
func openKeys(path string, log *slog.Logger) (*keyring, error) {
	if path == "" {
		return nil, nil
	}
	k := &keyring{followed: followed{paths: []string{path}, stays: "the previous keys stay", log: log}}
	k.read = func() ([]string, error) { return k.readKeys(path) }
	k.keys.Store(new(keysByDigest))
	return k, k.open()
}

// find returns the entry of a key, or nil.
func (k *keyring) find(key string) *apiKey {
	k.look()
	return (*k.keys.Load())[sha256.Sum256([]byte(key))]
}

// readKeys reads the file. A caller whose rate is unchanged keeps its used part of the rate.
func (k *keyring) readKeys(path string) (changes []string, err error) {
	data, err := file.Read(path)
	if err != nil {
		return nil, err
	}
	var entries []keyEntry
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&entries); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: not a list of keys (name, key, weight, requests_per_second, admin)", path) // err quotes the file
	}
	before := *k.keys.Load()
	keys, err := keysOf(entries, before)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	k.keys.Store(&keys)
	return keyChanges(before, keys), nil
}

// keyChanges returns the keys that differ, by the names of their callers.
func keyChanges(before, after keysByDigest) (changes []string) {
	for digest, key := range after {
		switch old := before[digest]; {
		case old == nil:
			changes = append(changes, key.String()+" added")
		case old.String() != key.String():
			changes = append(changes, fmt.Sprintf("%s -> %s", old, key))
		}
	}
	for digest, key := range before {
		if after[digest] == nil {
			changes = append(changes, key.String()+" removed")
		}
	}
	slices.Sort(changes)
	return changes
}

// String describes the key for the log, without the key itself.
func (k *apiKey) String() string {
	text := fmt.Sprintf("%s (weight %v", k.caller.Name, cmp.Or(k.caller.Weight, 1))
	if k.caller.Rate != nil {
		text += fmt.Sprintf(", %v requests/s", float64(k.caller.Rate.Limit()))
	}
	if k.admin {
		text += ", admin"
	}
	return text + ")"
}

func keysOf(entries []keyEntry, before keysByDigest) (keysByDigest, error) {
	keys := make(keysByDigest, len(entries))
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
