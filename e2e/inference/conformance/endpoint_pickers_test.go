package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// patience is how long the operator may take to look at an EndpointPicker.
const patience = time.Minute

// endpointPickers is a client for a suite whose pickers the operator runs.
//
// The suite takes a picker away by giving its Service another selector, which the operator would undo at once. It leaves
// alone what an EndpointPicker has that makes no sense, so that is what the EndpointPicker is told to be meanwhile.
type endpointPickers struct {
	client.Client
}

// takeAwayWithConsent has tests use such a client: the suite makes a client for each of them when it begins.
func takeAwayWithConsent(all []suite.ConformanceTest) {
	for i := range all {
		test := all[i].Test
		all[i].Test = func(t *testing.T, s *suite.ConformanceTestSuite) {
			s.Client = endpointPickers{s.Client}
			test(t, s)
		}
	}
}

// Update leaves the Service of an EndpointPicker as it is told, until it has the selector of the operator again.
func (c endpointPickers) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	service, isService := object.(*corev1.Service)
	if !isService {
		return c.Client.Update(ctx, object, options...)
	}
	picker := &unstructured.Unstructured{}
	picker.SetAPIVersion("flotilla.dev/v1alpha1")
	picker.SetKind("EndpointPicker")
	if err := c.Get(ctx, client.ObjectKeyFromObject(service), picker); err != nil {
		return fmt.Errorf("no EndpointPicker has Service %s: %w", service.Name, err)
	}
	_, isOurs := service.Spec.Selector["flotilla.dev/endpoint-picker"]
	if !isOurs {
		// The operator gives pickers no right to elect a leader.
		if err := c.argue(ctx, picker, []string{"--ha-enable-leader-election"}, "False"); err != nil {
			return err
		}
	}
	if err := c.Client.Update(ctx, object, options...); err != nil || !isOurs {
		return err
	}
	return c.argue(ctx, picker, nil, "True")
}

// argue sets the picker's further arguments, and waits until the operator has accepted them, or has not.
func (c endpointPickers) argue(ctx context.Context, picker *unstructured.Unstructured, arguments []string, accepted string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"extraArgs": arguments}})
	if err != nil {
		return err
	}
	if err := c.Patch(ctx, picker, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return fmt.Errorf("cannot patch EndpointPicker %s: %w", picker.GetName(), err)
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(picker), picker); err != nil {
			return false, err
		}
		return isAccepted(picker, accepted), nil
	})
}

// isAccepted says whether the condition Accepted has a status at the newest generation.
func isAccepted(picker *unstructured.Unstructured, status string) bool {
	conditions, _, _ := unstructured.NestedSlice(picker.Object, "status", "conditions")
	for _, condition := range conditions {
		condition, _ := condition.(map[string]any)
		if condition["type"] == "Accepted" {
			return condition["status"] == status && condition["observedGeneration"] == picker.GetGeneration()
		}
	}
	return false
}
