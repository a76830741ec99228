// Package conformance is the upstream suite as it is, in the version of go.mod.
package conformance

import (
	"testing"

	"sigs.k8s.io/gateway-api-inference-extension/conformance"
)

func TestConformance(t *testing.T) {
	conformance.RunConformance(t)
}
