package server

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strings"
)

//go:embed statuspage.html
var statusPage string

// statusPolicy allows the status page to run its own script and to ask its own server, and
// nothing else.
var statusPolicy = func() string {
	_, script, _ := strings.Cut(statusPage, "<script>")
	script, _, _ = strings.Cut(script, "</script>")
	sum := sha256.Sum256([]byte(script))
	return "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; " +
		"script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// withStatusPage serves the status page at / of the admin listener.
func withStatusPage(rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", getOnly(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", statusPolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write([]byte(statusPage)) // an error means that the browser has gone
	}))
	mux.Handle("/", rest)
	return mux
}
