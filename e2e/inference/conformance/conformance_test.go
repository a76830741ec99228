// Package conformance is the upstream suite as it is, in the version of go.mod.
package conformance

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/gateway-api-inference-extension/conformance"
	"sigs.k8s.io/gateway-api-inference-extension/conformance/tests"
)

var baseManifests = flag.String("base-manifests", "", "file with manifests in place of the suite's base, whose pickers are EndpointPickers")

func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	if *baseManifests != "" {
		folder, name := filepath.Split(*baseManifests)
		options.ManifestFS = append([]fs.FS{os.DirFS(folder)}, options.ManifestFS...)
		options.BaseManifests = name
		takeAwayWithConsent(tests.ConformanceTests)
	}
	conformance.RunConformanceWithOptions(t, options)
}
