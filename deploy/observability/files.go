// Package observability has the configuration of the Collector, Jaeger, Prometheus and
// Grafana for Paceline. compose.yaml starts them together.
package observability

import "embed"

// Files are the files of this directory.
//
//go:embed jaeger.yaml
var Files embed.FS
