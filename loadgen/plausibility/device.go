package plausibility

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Device is the accelerator that serves the model, or several that work as one.
type Device struct {
	Name                 string  `json:"name"`                           // as in tables
	FLOPSPerSecond       float64 `json:"flops_per_second"`               // maximum, dense, in the precision that the model is served in
	FP8FLOPSPerSecond    float64 `json:"fp8_flops_per_second,omitempty"` // the same for weights of 8 bits or less; 0: as flops_per_second
	MemoryBytesPerSecond float64 `json:"memory_bytes_per_second"`        // maximum
	Count                int     `json:"count"`                          // devices; 0 means 1
	Precision            string  `json:"precision,omitempty"`            // for people: bfloat16
	Source               string  `json:"source,omitempty"`               // for people
}

// devices holds the vendors' figures for dense bfloat16 and FP8. Their data sheets also list twice as much
// for sparse matrices, which language models don't use. For the B200, whose FP4 is faster still, FP8 is that
// of FP4: it counts for all weights of 8 bits or less, and a floor must not be too high.
var devices = []Device{
	{"a100", 312e12, 312e12, 2.039e12, 1, "bfloat16", "NVIDIA A100 80GB SXM data sheet"},
	{"h100", 989.4e12, 1978.9e12, 3.35e12, 1, "bfloat16", "NVIDIA H100 SXM data sheet"},
	{"h200", 989.4e12, 1978.9e12, 4.8e12, 1, "bfloat16", "NVIDIA H200 SXM data sheet"},
	{"b200", 2.25e15, 9e15, 8e12, 1, "bfloat16", "NVIDIA HGX B200 data sheet"},
	{"mi300x", 1307.4e12, 2614.9e12, 5.3e12, 1, "bfloat16", "AMD Instinct MI300X data sheet"},
}

// Known lists the names of the devices that have a name.
func Known() (names []string) {
	for _, d := range devices {
		names = append(names, d.Name)
	}
	return names
}

// serves returns the device with the maximum at which it serves a model.
func (d Device) serves(m Model) Device {
	if m.WeightBits <= 8 && m.WeightBits > 0 && d.FP8FLOPSPerSecond > d.FLOPSPerSecond {
		d.FLOPSPerSecond, d.Precision = d.FP8FLOPSPerSecond, "FP8"
	}
	return d
}

func (d Device) flops() float64 { return d.FLOPSPerSecond * float64(max(1, d.Count)) }

// Label names the device and how many there are: 8xh100.
func (d Device) Label() string {
	if d.Count > 1 {
		return strconv.Itoa(d.Count) + "x" + d.Name
	}
	return d.Name
}

// TFLOPS returns the maximum of all devices together, in TFLOP/s.
func (d Device) TFLOPS() float64 { return d.flops() / 1e12 }

// DeviceNamed returns a device by its name, several by a number before it (8xh100), or what a JSON file
// holds. Its error says what was expected.
func DeviceNamed(name string) (Device, error) {
	if strings.HasSuffix(name, ".json") {
		return readDevice(name)
	}
	number, kind, several := strings.Cut(strings.ToLower(name), "x")
	count, err := strconv.Atoi(number)
	if !several || err != nil {
		count, kind = 1, strings.ToLower(name)
	}
	i := slices.IndexFunc(devices, func(d Device) bool { return d.Name == kind })
	if i < 0 || count < 1 {
		return Device{}, fmt.Errorf("must be %s, several such as 8xh100, or a .json file, got %q", strings.Join(Known(), ", "), name)
	}
	d := devices[i]
	d.Count = count
	return d, nil
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
	case d.FP8FLOPSPerSecond < 0:
		return d, fmt.Errorf("%s: fp8_flops_per_second: must be at least 0, got %v", path, d.FP8FLOPSPerSecond)
	case d.MemoryBytesPerSecond <= 0:
		return d, fmt.Errorf("%s: memory_bytes_per_second: must be above 0, got %v", path, d.MemoryBytesPerSecond)
	case d.Count < 0:
		return d, fmt.Errorf("%s: count: must be at least 0, got %d", path, d.Count)
	}
	d.Count = max(1, d.Count)
	return d, nil
}
