#include <gtest/gtest.h>

#include "shunt/shunt.h"
