// Package server runs the proxy: it opens the listeners, puts TLS, keys and limits in front
// of packages api and compat, and drains at the end.
//
// Read server.go first: it makes the ports (port.go) and runs them from New to the end of
// Run. A call passes front.go, which traces and measures it and checks its key (keys.go).
// Then package api or compat answers it by way of package upstream. readiness.go decides
// what health says. admin.go, admin_status.go and settings.go are the admin service.
// config.go has every setting with its default, follow.go reads files again that change.
//
// The package never logs, traces or reports prompt text. It cuts no accepted request before
// Config.DrainTimeout has passed.
package server
