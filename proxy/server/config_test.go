package server

import (
	"errors"
	"strings"
	"testing"
)

func TestValidateNamesTheFlag(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"upstream":          func(c *Config) { c.Upstream.URL = "127.0.0.1:30000" },
		"listen":            func(c *Config) { c.Listen = "" },
		"http":              func(c *Config) { c.HTTP = "127.0.0.1" },
		"admin":             func(c *Config) { c.Admin = ":9090" },
		"batch-size":        func(c *Config) { c.Settings.BatchSize = 0 },
		"max-wait":          func(c *Config) { c.Settings.MaxWait = -1 },
		"max-in-flight":     func(c *Config) { c.Settings.MaxInFlight = 0 },
		"queue-requests":    func(c *Config) { c.Settings.QueueRequests = 0 },
		"queue-bytes":       func(c *Config) { c.Settings.QueueBytes = 0 },
		"vocab-size":        func(c *Config) { c.Upstream.VocabSize = -1 },
		"drain-timeout":     func(c *Config) { c.DrainTimeout = 0 },
		"drain-delay":       func(c *Config) { c.DrainDelay = c.DrainTimeout },
		"max-message-bytes": func(c *Config) { c.MaxMessageBytes = 0 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		var e *ConfigError
		if err := cfg.Validate(); !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestAdminBeyondLoopbackIsRefused(t *testing.T) {
	for addr, valid := range map[string]bool{
		"": true, "127.0.0.1:1": true, "[::1]:1": true, "localhost:0": true, "127.8.8.8:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false,
		"localhost.example.com:1": false,
	} {
		cfg := DefaultConfig()
		cfg.Admin = addr
		if err := cfg.Validate(); (err == nil) != valid {
			t.Errorf("admin %q: %v", addr, err)
		}
	}
}

func TestAnAddressThatIsTakenIsNamed(t *testing.T) {
	f := newFake(t)
	cfg := DefaultConfig()
	cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = "127.0.0.1:0", f.addr, "", ""
	_, err := New(cfg)
	if err == nil || !strings.Contains(err.Error(), "http: ") {
		t.Fatalf("got %v", err)
	}
}
