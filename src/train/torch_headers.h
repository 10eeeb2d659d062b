// Everything libtorch, included by the .cc files of this folder alone and precompiled.
#pragma once

#include <torch/script.h>
#include <torch/torch.h>
