package server

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"paceline/proxy/api"
)

//go:embed statuspage.html
var statusPage string

// statusPolicy allows the status page to run its own script and to ask its own server, and
// nothing else.
var statusPolicy = func() string {
	_, script, _ := strings.Cut(statusPage, "<script>")
	script, _, _ = strings.Cut(script, "</script>")
	sum := sha256.Sum256([]byte(script))
	return "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'none'; " +
		"script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// pageData is what the page shows. It is no part of the contract.
type pageData struct {
	Version  string        `json:"version"`
	Ready    bool          `json:"ready"`
	Reason   string        `json:"reason"` // why it is not ready, or sends nothing to SGLang
	Draining bool          `json:"draining"`
	Pending  int           `json:"pending"` // accepted requests that are not answered
	Upstream string        `json:"upstream"`
	Model    string        `json:"model"`
	SGLang   string        `json:"sglang"`             // its version
	Unshared string        `json:"unshared,omitempty"` // upstream.Snapshot.SharesNothing
	Points   []point       `json:"points"`
	Bounds   []float64     `json:"bounds"` // of the sizes of batches
	Sizes    []uint64      `json:"sizes"`  // batches up to each bound
	Settings []pageSetting `json:"settings"`
}

type pageSetting struct {
	Name    string   `json:"name"`
	Value   string   `json:"value"` // in the form of flags
	Source  string   `json:"source"`
	Choices []string `json:"choices"` // nil: any number or duration
}

// withStatusPage serves the admin page at / of the admin listener, and its data behind the
// gate.
func (s *Server) withStatusPage(g gate, rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", getOnly(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", statusPolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write([]byte(statusPage)) // an error means that the browser has gone
	}))
	mux.Handle("/page.json", g.handler(getOnly(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(s.pageData()) // as above
	})))
	mux.Handle("/", rest)
	return mux
}

func (s *Server) pageData() pageData {
	v, up := s.readiness.now(), s.up.Snapshot()
	d := pageData{
		Version: s.cfg.Version, Ready: v.ready, Reason: v.reason, Draining: v.draining, Pending: s.Pending(),
		Upstream: s.up.URL(), Model: up.Model, SGLang: up.Info.Version, Unshared: up.SharesNothing, Settings: s.settings.list(),
	}
	if v.ready && s.up.Queue.Stats().BreakerOpen {
		d.Reason = "SGLang failed every recent call, and nothing is sent to it for a while"
	}
	points, sizes := s.history.points()
	d.Points, d.Bounds, d.Sizes = points, sizes.Bounds, sizes.Counts
	return d
}

// list returns all settings with their sources.
func (l *liveSettings) list() (all []pageSetting) {
	l.mu.Lock()
	m, sources := settingsMessage(l.up.Queue.Settings()).ProtoReflect(), maps.Clone(l.sources)
	l.mu.Unlock()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		all = append(all, pageSetting{
			Name: string(f.Name()), Value: api.SettingText(m, f),
			Source: cmp.Or(sources[flagName(string(f.Name()))], sourceDefault), Choices: api.SettingChoices(f),
		})
	}
	return all
}
