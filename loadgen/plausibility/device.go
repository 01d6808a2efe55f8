package plausibility

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Device is the accelerator that serves the model, or several that work as one.
type Device struct {
	Name                 string  `json:"name"`                    // as in tables
	FLOPSPerSecond       float64 `json:"flops_per_second"`        // maximum, dense, in the precision that the model is served in
	MemoryBytesPerSecond float64 `json:"memory_bytes_per_second"` // maximum
	Count                int     `json:"count"`                   // devices; 0 means 1
	Precision            string  `json:"precision,omitempty"`     // for people: bfloat16
	Source               string  `json:"source,omitempty"`        // for people
}

// devices holds the vendor's figures for dense bfloat16. Its data sheets also list twice as much for
// sparse matrices, which language models don't use.
var devices = []Device{
	{"a100", 312e12, 2.039e12, 1, "bfloat16", "NVIDIA A100 80GB SXM data sheet"},
	{"h100", 989.4e12, 3.35e12, 1, "bfloat16", "NVIDIA H100 SXM data sheet"},
	{"h200", 989.4e12, 4.8e12, 1, "bfloat16", "NVIDIA H200 SXM data sheet"},
}

func (d Device) flops() float64 { return d.FLOPSPerSecond * float64(max(1, d.Count)) }

// TFLOPS returns the maximum of all devices together, in TFLOP/s.
func (d Device) TFLOPS() float64 { return d.flops() / 1e12 }

// DeviceNamed returns a device by its name or from a JSON file. Its error says what was expected.
func DeviceNamed(name string) (Device, error) {
	if strings.HasSuffix(name, ".json") {
		return readDevice(name)
	}
	i := slices.IndexFunc(devices, func(d Device) bool { return d.Name == strings.ToLower(name) })
	if i < 0 {
		return Device{}, fmt.Errorf("must be a100, h100, h200 or a .json file, got %q", name)
	}
	return devices[i], nil
}

func readDevice(path string) (d Device, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return d, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return d, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case d.Name == "":
		return d, fmt.Errorf("%s: name: must not be empty", path)
	case d.FLOPSPerSecond <= 0:
		return d, fmt.Errorf("%s: flops_per_second: must be above 0, got %v", path, d.FLOPSPerSecond)
	case d.MemoryBytesPerSecond <= 0:
		return d, fmt.Errorf("%s: memory_bytes_per_second: must be above 0, got %v", path, d.MemoryBytesPerSecond)
	case d.Count < 0:
		return d, fmt.Errorf("%s: count: must be at least 0, got %d", path, d.Count)
	}
	d.Count = max(1, d.Count)
	return d, nil
}
