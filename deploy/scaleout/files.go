// Package scaleout holds what spreads load over several pods: service configurations
// for gRPC clients, an Envoy and manifests of the Gateway API. README.md says when to
// use which. The files are embedded, so that what is tested is what is read.
package scaleout

import "embed"

// Files are all configurations here, by their names.
//
//go:embed round-robin.json weighted.json consistent-hash.json envoy.yaml
var Files embed.FS

// ServiceConfig is the gRPC service configuration of a name: round-robin, weighted or
// consistent-hash.
func ServiceConfig(name string) (string, error) {
	data, err := Files.ReadFile(name + ".json")
	return string(data), err
}

// KeyHeader is the metadata by which consistent-hash.json and envoy.yaml choose a pod:
// prompts with one value go to one pod. It is for what prompts with a long common
// beginning have in common: the id of a conversation, or of the problem of rollouts.
const KeyHeader = "x-prefix-key"
